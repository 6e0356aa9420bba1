"""Files for --web.config.file: certificates, keys and password hashes."""

from pathlib import Path

import bcrypt
import trustme

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()


def issue(authority: trustme.CA, folder: Path, name: str = "server", **options: object) -> None:
    """A new certificate in the folder's files, put there as one step each."""
    leaf = authority.issue_cert("127.0.0.1", **options)  # type: ignore[arg-type]
    for path, blobs in (("crt", leaf.cert_chain_pems), ("key", [leaf.private_key_pem])):
        (folder / "new").write_bytes(b"".join(blob.bytes() for blob in blobs))
        (folder / "new").rename(folder / f"{name}.{path}")


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text)
    return path
