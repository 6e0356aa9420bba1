"""Folders as the kubelet writes them."""

import shutil
from pathlib import Path


class ConfigMap:
    """A folder as the kubelet writes it for a ConfigMap or a Secret: links to files that it replaces together."""

    def __init__(self, path: Path, **texts: str) -> None:
        self.path = path
        self._versions = 0
        path.mkdir()
        self.replace(**texts)

    def replace(self, **texts: str) -> None:
        """Replace all files, one step after the other."""
        self.switch(**texts)
        self.tidy()

    def switch(self, **texts: str) -> None:
        """Move the link `..data` to new files."""
        self._versions += 1
        folder = self.path / f"..2026_{self._versions}"
        folder.mkdir()
        for name, text in texts.items():
            (folder / f"{name}.yml").write_text(text)
        (self.path / "..data_tmp").symlink_to(folder.name)
        (self.path / "..data_tmp").rename(self.path / "..data")

    def tidy(self) -> None:
        """Adapt the links to the new files, and remove the old ones."""
        current = {file.name for file in (self.path / "..data").iterdir()}
        for name in current:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for link in self.path.glob("[!.]*"):
            if link.name not in current:
                link.unlink()
        for folder in self.path.glob("..2026_*"):
            if folder.name != str((self.path / "..data").readlink()):
                shutil.rmtree(folder)
