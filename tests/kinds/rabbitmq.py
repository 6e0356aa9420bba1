"""A real RabbitMQ on free ports of loopback, with its data, its cookie and its epmd for this test alone."""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from support import Process, command, ended, free_port, unavailable

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the PATH wants to be the service's user
CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{tcp}
listeners.ssl.1 = 127.0.0.1:{tls}
ssl_options.certfile = {home}/server.pem
ssl_options.keyfile = {home}/server.key
ssl_options.cacertfile = {home}/ca.pem
ssl_options.verify = verify_none
load_definitions = {home}/definitions.json
log.file = false
log.console = true
log.console.level = info
"""
DEFINITIONS = {
    "vhosts": [{"name": "/"}, {"name": "shop"}, {"name": "closed"}],
    "permissions": [
        {"user": "reader", "vhost": "shop", "configure": "", "write": "", "read": ""},
        {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    ],
    "queues": [{"name": "orders", "vhost": "shop", "durable": True, "auto_delete": False, "arguments": {}}],
}


@contextmanager
def rabbitmq(home: Path, authority: trustme.CA, users: dict[str, str]) -> Iterator[tuple[int, int]]:
    """The ports without and with TLS, of a server with these users and their passwords; `reader` may open `shop`."""
    if not SERVER.exists():
        unavailable("rabbitmq-server is not installed (apt install rabbitmq-server)")
    tcp, tls, distribution, epmd = (free_port() for _ in range(4))
    (home / "rabbitmq.conf").write_text(CONFIGURATION.format(tcp=tcp, tls=tls, home=home))
    hashed = [{"name": name, "password_hash": _hash(password), "tags": ""} for name, password in users.items()]
    (home / "definitions.json").write_text(json.dumps(DEFINITIONS | {"users": hashed}))
    (home / "plugins").write_text("[].\n")
    authority.cert_pem.write_to_path(home / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(home / "server.key")
    certificate.cert_chain_pems[0].write_to_path(home / "server.pem")
    environment = {
        "HOME": str(home),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",  # one scheduler, which does not spin
    }
    try:
        with ended(Process([str(SERVER)], {**os.environ, **environment}, cwd=home)) as process:
            process.line("completed with 0 plugins")
            yield tcp, tls
    finally:
        subprocess.run([command("epmd"), "-port", str(epmd), "-kill"], capture_output=True, check=False)


def _hash(password: str) -> str:
    """The hash of a password as RabbitMQ stores it: four bytes of salt, and SHA-256 of the salt and the password."""
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
