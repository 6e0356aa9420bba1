"""A real mount that stops responding, as a dead NFS server does: a small FUSE server over /dev/fuse.

Theory of operation. `mounted` starts this file as a process, which mounts a folder through the kernel's FUSE protocol
(linux/fuse.h, version 7.31) and serves the files of another folder, read-only, under it. On demand, it no longer
replies to some kinds of requests. A system call that waits for such a reply cannot be interrupted, not even by SIGKILL.
When the server ends, the kernel gives an error to everybody who waits, so a test never leaves a blocked process behind.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPERATIONS = {
    **dict.fromkeys((1, 3, 17, 34), "stat"),  # LOOKUP, GETATTR, STATFS, ACCESS
    **dict.fromkeys((14, 27), "open"),  # OPEN, OPENDIR
    **dict.fromkeys((5, 15, 28), "read"),  # READLINK, READ, READDIR
}
_NO_REPLY = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
_MNT_DETACH = 2


class Mount:
    """A mounted folder. Write its files to `files`, outside the mount, and use them under `path`."""

    def __init__(self, path: Path, files: Path) -> None:
        self.path = path
        self.files = files
        self._server = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(path), str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read_response("mounted")

    def hang(self, *operations: str) -> None:
        """Reply no more to these operations: `stat`, `open`, `read`; without any, to all of them.

        Opening a path looks it up first, which is a `stat`.
        """
        self._command("hang", *(operations or ("stat", "open", "read")))

    def release(self) -> None:
        """Reply to everything that waits, and to everything from now on."""
        self._command("release")

    def waiting(self) -> int:
        """Return the number of requests that wait for a reply."""
        return int(self._command("waiting"))

    def end(self) -> None:
        """End the server: whoever waits gets an error. Unmount the folder."""
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            assert pipe is not None
            pipe.close()
        ctypes.CDLL(None).umount2(os.fsencode(self.path), _MNT_DETACH)

    def _command(self, *words: str) -> str:
        assert self._server.stdin is not None
        self._server.stdin.write(" ".join(words) + "\n")
        self._server.stdin.flush()
        return self._read_response("done")

    def _read_response(self, first: str) -> str:
        assert self._server.stdout is not None
        word, _, rest = self._server.stdout.readline().strip().partition(" ")
        if word != first:
            self.end()
            from support import unavailable

            unavailable(f"FUSE cannot be mounted here: {word} {rest}")
        return rest


@contextmanager
def mounted(folder: Path) -> Iterator[Mount]:
    """Mount `folder`/mount, with the files in `folder`/files; skip the test where that is not possible."""
    path, files = folder / "mount", folder / "files"
    path.mkdir()
    files.mkdir()
    mount = Mount(path, files)
    try:
        yield mount
    finally:
        mount.end()


class _Server:
    """Serves a folder. A node's number is its place in `_paths`."""

    def __init__(self, device: int, files: Path) -> None:
        self._device = device
        self._paths = [Path(), files]
        self._hanging: set[str] = set()
        self._held: list[bytes] = []

    def run(self) -> None:
        """Serve requests and commands until stdin ends."""
        commands = sys.stdin.buffer.raw  # type: ignore[union-attr]
        while True:
            ready, _, _ = select.select([self._device, commands], [], [])
            if commands in ready:
                line = commands.readline()
                if not line:
                    return
                print("done", self._obey(line.decode().split()), flush=True)
            if self._device in ready:
                try:
                    self._receive(os.read(self._device, 1 << 17))
                except FileNotFoundError:  # the request was interrupted before it was read
                    continue

    def _obey(self, words: list[str]) -> str:
        if words[0] == "hang":
            self._hanging.update(words[1:])
        elif words[0] == "release":
            self._hanging.clear()
            held, self._held = self._held, []
            for request in held:
                self._reply(request)
        return str(len(self._held))

    def _receive(self, request: bytes) -> None:
        opcode = struct.unpack_from("<I", request, 4)[0]
        if opcode in _NO_REPLY:
            return
        if _OPERATIONS.get(opcode) in self._hanging:
            self._held.append(request)
        else:
            self._reply(request)

    def _reply(self, request: bytes) -> None:
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        error, body = 0, b""
        try:
            body = self._answer(opcode, node, request[40:])
        except OSError as failure:
            error = -(failure.errno or errno.EIO)
        try:
            os.write(self._device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
        except FileNotFoundError:  # whoever waited has been killed
            return

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        match opcode:
            case 26:  # INIT
                return struct.pack("<IIIIHHIIHH32x", 7, 31, 0, 0, 16, 12, 1 << 16, 1, 0, 0)
            case 1:  # LOOKUP
                return self._look_up(node, body.rstrip(b"\0"))
            case 3:  # GETATTR
                return struct.pack("<QII", 0, 0, 0) + _pack_attributes(self._paths[node], node)
            case 5:  # READLINK
                return os.fsencode(self._paths[node].readlink())
            case 14 | 27:  # OPEN, OPENDIR; 1 is FOPEN_DIRECT_IO, so that every read comes here
                return struct.pack("<QII", 0, 1, 0)
            case 15:  # READ
                _, offset, size = struct.unpack_from("<QQI", body)
                with self._paths[node].open("rb") as file:
                    return os.pread(file.fileno(), size, offset)
            case 28:  # READDIR
                offset = struct.unpack_from("<QQI", body)[1]
                return b"" if offset else _pack_entries(self._paths[node])
            case 17:  # STATFS
                return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1000, 900, 4096, 255, 4096, 0)
            case 18 | 25 | 29 | 34 | 38:  # RELEASE, FLUSH, RELEASEDIR, ACCESS, DESTROY
                return b""
        raise OSError(errno.ENOSYS, "unsupported")

    def _look_up(self, parent: int, name: bytes) -> bytes:
        path = self._paths[parent] / os.fsdecode(name)
        attributes = _pack_attributes(path, 0)
        if path not in self._paths:
            self._paths.append(path)
        node = self._paths.index(path)
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes


def _pack_attributes(path: Path, node: int) -> bytes:
    found = path.lstat()
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return struct.pack(
        "<6Q10I",
        node or found.st_ino,
        found.st_size,
        found.st_blocks,
        *(time // 10**9 for time in times),
        *(time % 10**9 for time in times),
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        0,
        4096,
        0,
    )


def _pack_entries(path: Path) -> bytes:
    entries = b""
    for number, entry in enumerate(path.iterdir(), 1):
        encoded = os.fsencode(entry.name)
        kind = stat.S_IFMT(entry.lstat().st_mode) >> 12
        entries += struct.pack("<QQII", number, number, len(encoded), kind) + encoded + b"\0" * (-len(encoded) % 8)
    return entries


def _main(path: str, files: str) -> None:
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        library = ctypes.CDLL(None, use_errno=True)
        if library.mount(b"fuse", os.fsencode(path), b"fuse", 6, options.encode()):  # MS_NOSUID | MS_NODEV
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        print("failed", error, flush=True)
        return
    print("mounted", flush=True)
    _Server(device, Path(files)).run()


if __name__ == "__main__":
    _main(*sys.argv[1:])
