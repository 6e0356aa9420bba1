"""Servers from Debian's packages in whose protocols TLS starts at the client's request."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import Process, accepts, command, ended, eventually, free_port

# Dovecot keeps everything in its own folder; as root, it runs its parts as `nobody`. It authenticates nobody here.
DOVECOT = """
protocols = imap pop3 submission
base_dir = {home}/run
log_path = /dev/stderr
ssl_cert = <{home}/server.pem
ssl_key = <{home}/server.pem
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
submission_relay_host = 127.0.0.1
passdb {{
  driver = static
}}
userdb {{
  driver = static
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {smtp}
  }}
}}
"""
SLAPD = """
TLSCertificateFile {home}/server.pem
TLSCertificateKeyFile {home}/server.pem
"""


@contextmanager
def dovecot(home: Path) -> Iterator[dict[str, int]]:
    """Dovecot with the certificate `server.pem` in this folder; yields the ports of smtp, imap, imaps and pop3."""
    ports = {protocol: free_port() for protocol in ("smtp", "imap", "imaps", "pop3")}
    user, group = ("nobody", "nogroup") if os.geteuid() == 0 else (getpass.getuser(), getpass.getuser())
    (home / "dovecot.conf").write_text(DOVECOT.format(home=home, user=user, group=group, **ports))
    with ended(Process([command("dovecot"), "-F", "-c", "dovecot.conf"], cwd=home)) as process:
        process.line("starting up")
        yield ports


@contextmanager
def slapd(home: Path) -> Iterator[int]:
    """OpenLDAP with the certificate `server.pem` in this folder; yields its port."""
    port = free_port()
    (home / "slapd.conf").write_text(SLAPD.format(home=home))
    arguments = ["-d", "256", "-h", f"ldap://127.0.0.1:{port}", "-f", "slapd.conf"]
    with ended(Process([command("slapd"), *arguments], cwd=home)) as process:
        process.line("slapd starting")
        eventually(lambda: accepts(port), what="slapd listens")  # which it does only after that line
        yield port
