"""`convert` for blackbox_exporter: a converted check and its module have the same verdict against the same servers."""

import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import grpc
import pytest
import trustme
import yaml
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from kinds.mail import dovecot
from kinds.name_servers import NameServer
from support import Process, command, configure_nginx, ended, eventually, free_port, get

from exporter.config.checks import parse
from exporter.config.document import Document
from exporter.config.files import Text
from exporter.evaluation.once import run_all
from exporter.manifests.blackbox import convert_modules

NGINX = """
    server {{
        listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
        ssl_certificate server.crt; ssl_certificate_key server.key;
        location = /health {{ return 200 "status: healthy\\nversion v12\\n"; }}
        location = /created {{ return 201; }}
        location = /missing {{ return 404 "gone"; }}
        location = /broken {{ return 500; }}
        location = /redirect {{ return 302 /health; }}
        location = /broken-redirect {{ return 302 /broken; }}
        location = /post {{ if ($request_method != POST) {{ return 405; }} return 200; }}
        location = /query {{ if ($arg_a !~ "^b.[(]c[)]") {{ return 400; }} return 200; }}
        location = /header {{ if ($http_x_tenant != "yes") {{ return 403; }} return 200; }}
        location = /host {{ if ($http_host != shop.example) {{ return 421; }} return 200; }}
        location = /port {{ if ($http_host != "127.0.0.1:{http}") {{ return 421; }} return 200; }}
        location = /token {{ if ($http_authorization != "Bearer hunter2-token") {{ return 401; }} return 200; }}
        location = /private/page {{ auth_basic x; auth_basic_user_file users; try_files /page =404; }}
    }}
"""
HTTP, HTTPS = "http://127.0.0.1:{http}", "https://127.0.0.1:{https}"
LOGIN = {"basic_auth": {"username": "me", "password": "hunter2-password"}}
TRUST = {"tls_config": {"ca_file": "{folder}/ca.pem"}}
STARTTLS = [
    {"expect": "^220 "},
    {"send": "EHLO prober\r"},
    {"expect": "^250-STARTTLS"},
    {"send": "STARTTLS\r"},
    {"expect": "^220"},
    {"starttls": True},
    {"send": "EHLO prober\r"},
    {"expect": "^250-AUTH"},
]


def matching(name, pattern, **options):
    return {"fail_if_header_matches": [{"header": name, "regexp": pattern, **options}]}


def not_matching(name, pattern):
    return {"fail_if_header_not_matches": [{"header": name, "regexp": pattern}]}


# The prober, its options, the target, and whether it passes.
CASES = {
    "200": ("http", {}, HTTP + "/health", True),
    "201": ("http", {}, HTTP + "/created", True),
    "404": ("http", {}, HTTP + "/missing", False),
    "500": ("http", {}, HTTP + "/broken", False),
    "404_expected": ("http", {"valid_status_codes": [404, 410]}, HTTP + "/missing", True),
    "200_unexpected": ("http", {"valid_status_codes": [404]}, HTTP + "/health", False),
    "without_a_scheme": ("http", {}, "127.0.0.1:{http}/health", True),
    "closed": ("http", {}, "http://127.0.0.1:{closed}/", False),
    "redirect": ("http", {}, HTTP + "/redirect", True),
    "redirect_to_an_error": ("http", {}, HTTP + "/broken-redirect", False),
    "redirect_not_followed": ("http", {"follow_redirects": False}, HTTP + "/redirect", False),
    "redirect_expected": ("http", {"no_follow_redirects": True, "valid_status_codes": [302]}, HTTP + "/redirect", True),
    "post": ("http", {"method": "POST", "body": "{}"}, HTTP + "/post", True),
    "get_instead_of_post": ("http", {}, HTTP + "/post", False),
    "query": ("http", {}, HTTP + "/query?a=b$(c)", True),
    "query_is_wrong": ("http", {}, HTTP + "/query?a=c", False),
    "header": ("http", {"headers": {"X-Tenant": "yes"}}, HTTP + "/header", True),
    "header_is_wrong": ("http", {"headers": {"X-Tenant": "no"}}, HTTP + "/header", False),
    "host_header": ("http", {"headers": {"host": "shop.example"}}, HTTP + "/host", True),
    "host_header_of_the_url": ("http", {}, HTTP + "/port", True),
    "text": ("http", {"fail_if_body_not_matches_regexp": ["healthy"]}, HTTP + "/health", True),
    "text_is_missing": ("http", {"fail_if_body_not_matches_regexp": ["sick"]}, HTTP + "/health", False),
    "pattern": ("http", {"fail_if_body_not_matches_regexp": ["^status: h.*y\nv"]}, HTTP + "/health", True),
    "pattern_is_anchored": ("http", {"fail_if_body_not_matches_regexp": ["^version"]}, HTTP + "/health", False),
    "all_patterns": ("http", {"fail_if_body_not_matches_regexp": ["hea", "v1.", "^s"]}, HTTP + "/health", True),
    "one_of_the_patterns": ("http", {"fail_if_body_not_matches_regexp": ["hea", "v1.", "^v"]}, HTTP + "/health", False),
    "forbidden_text": ("http", {"fail_if_body_matches_regexp": ["sick"]}, HTTP + "/health", True),
    "forbidden_text_is_there": ("http", {"fail_if_body_matches_regexp": ["healthy"]}, HTTP + "/health", False),
    "forbidden_patterns": ("http", {"fail_if_body_matches_regexp": ["v2.", "(?i)SICK"]}, HTTP + "/health", True),
    "forbidden_pattern_is_there": ("http", {"fail_if_body_matches_regexp": ["v2.", "v1."]}, HTTP + "/health", False),
    "response_header": ("http", not_matching("Server", "^nginx"), HTTP + "/health", True),
    "response_header_is_wrong": ("http", not_matching("Server", "^apache"), HTTP + "/health", False),
    "response_header_is_missing": ("http", not_matching("X-None", "."), HTTP + "/health", False),
    "forbidden_header": ("http", matching("server", "^apache"), HTTP + "/health", True),
    "forbidden_header_is_there": ("http", matching("Server", "^nginx"), HTTP + "/health", False),
    "forbidden_header_is_missing": ("http", matching("X-None", "."), HTTP + "/health", False),
    "forbidden_header_may_be_missing": ("http", matching("X-None", ".", allow_missing=True), HTTP + "/health", True),
    "password": ("http", LOGIN, HTTP + "/private/page", True),
    "password_is_wrong": ("http", {"basic_auth": {"username": "you", "password": "x"}}, HTTP + "/private/page", False),
    "password_is_missing": ("http", {}, HTTP + "/private/page", False),
    "password_in_the_url": ("http", {}, "http://me:hunter2-password@127.0.0.1:{http}/private/page", True),
    "password_file": (
        "http", {"basic_auth": {"username": "me", "password_file": "{folder}/password"}}, HTTP + "/private/page", True,
    ),
    "bearer_token": ("http", {"bearer_token": "hunter2-token"}, HTTP + "/token", True),
    "authorization": ("http", {"authorization": {"credentials": "hunter2-token"}}, HTTP + "/token", True),
    "authorization_file": ("http", {"authorization": {"credentials_file": "{folder}/token"}}, HTTP + "/token", True),
    "token_is_missing": ("http", {}, HTTP + "/token", False),
    "certificate": ("http", TRUST, HTTPS + "/health", True),
    "certificate_of_an_unknown_authority": ("http", {}, HTTPS + "/health", False),
    "certificate_not_verified": ("http", {"tls_config": {"insecure_skip_verify": True}}, HTTPS + "/health", True),
    "certificate_of_another_name": (
        "http", {"tls_config": {**TRUST["tls_config"], "server_name": "other.example"}}, HTTPS + "/health", False,
    ),
    "certificate_of_the_host_header": ("http", {**TRUST, "headers": {"Host": "shop.example"}}, HTTPS + "/host", True),
    "https_required": ("http", {**TRUST, "fail_if_not_ssl": True}, HTTPS + "/health", True),
    "http_required": ("http", {"fail_if_ssl": True}, HTTP + "/health", True),
    "port": ("tcp", {}, "127.0.0.1:{http}", True),
    "port_is_closed": ("tcp", {}, "127.0.0.1:{closed}", False),
    "greeting": ("tcp", {"query_response": [{"expect": "^220 ([^ ]+) ESMTP$"}]}, "127.0.0.1:{mail}", True),
    "second_line": ("tcp", {"query_response": [{"expect": "^250 ready$"}]}, "127.0.0.1:{mail}", True),
    "greeting_is_wrong": ("tcp", {"query_response": [{"expect": "^550"}]}, "127.0.0.1:{mail}", False),
    "greeting_is_wrong_at_its_end": ("tcp", {"query_response": [{"expect": "^220 mail$"}]}, "127.0.0.1:{mail}", False),
    "dialogue": ("tcp", {"query_response": [{"send": "PING\r"}, {"expect": "PONG"}]}, "127.0.0.1:{echo}", True),
    "dialogue_fails": ("tcp", {"query_response": [{"send": "PANG\r"}, {"expect": "PONG"}]}, "127.0.0.1:{echo}", False),
    "tls": ("tcp", {"tls": True, **TRUST}, "127.0.0.1:{https}", True),
    "tls_of_an_unknown_authority": ("tcp", {"tls": True}, "127.0.0.1:{https}", False),
    "tls_not_verified": ("tcp", {"tls": True, "tls_config": {"insecure_skip_verify": True}}, "127.0.0.1:{https}", True),
    "tls_of_a_plain_port": ("tcp", {"tls": True, **TRUST}, "127.0.0.1:{http}", False),
    "dialogue_over_tls": (
        "tcp", {"tls": True, **TRUST, "query_response": [{"expect": "^[*] OK"}]}, "127.0.0.1:{imaps}", True,
    ),
    "dialogue_over_tls_fails": (
        "tcp", {"tls": True, **TRUST, "query_response": [{"expect": "^[*] BAD"}]}, "127.0.0.1:{imaps}", False,
    ),
    "starttls": ("tcp", {**TRUST, "query_response": STARTTLS}, "127.0.0.1:{smtp}", True),
    "starttls_of_an_unknown_authority": ("tcp", {"query_response": STARTTLS}, "127.0.0.1:{smtp}", False),
    "starttls_of_another_protocol": ("tcp", {**TRUST, "query_response": STARTTLS}, "127.0.0.1:{imap}", False),
    "host": ("icmp", {"preferred_ip_protocol": "ip4", "payload_size": 100, "dont_fragment": True}, "127.0.0.1", True),
    "host_over_ipv6": ("icmp", {"preferred_ip_protocol": "ip6"}, "::1", True),
    "host_that_is_a_broadcast": ("icmp", {"preferred_ip_protocol": "ip4"}, "255.255.255.255", False),
    "name": ("dns", {"query_name": "shop.example", "query_type": "A"}, "127.0.0.1:{dns}", True),
    "name_without_records": ("dns", {"query_name": "example", "query_type": "A"}, "127.0.0.1:{dns}", True),
    "name_does_not_exist": ("dns", {"query_name": "nothing.example", "query_type": "A"}, "127.0.0.1:{dns}", False),
    "name_must_not_exist": (
        "dns", {"query_name": "nothing.example", "query_type": "A", "valid_rcodes": ["NXDOMAIN"]},
        "127.0.0.1:{dns}", True,
    ),
    "name_server_is_absent": ("dns", {"query_name": "shop.example", "query_type": "A"}, "127.0.0.1:{closed}", False),
    "service": ("grpc", {}, "127.0.0.1:{grpc}", True),
    "service_by_name": ("grpc", {"service": "shop"}, "127.0.0.1:{grpc}", True),
    "service_is_not_serving": ("grpc", {"service": "down"}, "127.0.0.1:{grpc}", False),
    "service_over_tls": ("grpc", {"tls": True, **TRUST, "service": "shop"}, "127.0.0.1:{grpcs}", True),
    "service_over_tls_of_an_unknown_authority": ("grpc", {"tls": True}, "127.0.0.1:{grpcs}", False),
    "service_over_tls_not_verified": (
        "grpc", {"tls": True, "tls_config": {"insecure_skip_verify": True}}, "127.0.0.1:{grpcs}", True,
    ),
    "service_is_unknown": ("grpc", {"service": "other"}, "127.0.0.1:{grpc}", False),
}  # fmt: skip


def fill(value, numbers):
    """The value with the ports and the folder of this run in its texts."""
    if isinstance(value, dict):
        return {key: fill(item, numbers) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, numbers) for item in value]
    filled = value
    for name, number in numbers.items() if isinstance(value, str) else ():
        filled = filled.replace(f"{{{name}}}", str(number))
    return filled


SECRETS = {"password_is_wrong": "x", "bearer_token": "hunter2-token", "authorization": "hunter2-token"}
LINES = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if sys.argv[1] == "mail":
            self.wfile.write(b"220 mail ESMTP\\r\\n250 ready\\r\\n")
        elif self.rfile.readline() == b"PING\\r\\n":
            self.wfile.write(b"+PONG\\r\\n")
socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""


@contextmanager
def serve_lines(kind: str, port: int) -> Iterator[None]:
    with ended(Process([sys.executable, "-c", LINES, kind, str(port)])) as process:
        process.line("ready")
        yield


@contextmanager
def serve_grpc(port: int, tls_port: int, leaf: trustme.LeafCert) -> Iterator[None]:
    servicer = health.HealthServicer()
    servicer.set("shop", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    server.add_secure_port(f"127.0.0.1:{tls_port}", grpc.ssl_server_credentials([pair]))
    server.start()
    yield
    server.stop(0).wait(5)


def answers(url: str) -> bool:
    try:
        return get(url, timeout=5).status > 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def peers() -> Iterator[SimpleNamespace]:
    """Every server of the table, and blackbox_exporter with a module for every case."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1", "shop.example")
        (folder / "server.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        (folder / "server.key").write_bytes(leaf.private_key_pem.bytes())
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        (folder / "users").write_text("me:{PLAIN}hunter2-password\n")
        (folder / "html").mkdir()
        (folder / "html" / "page").write_text("page")
        (folder / "password").write_text("hunter2-password")
        (folder / "token").write_text("hunter2-token")
        numbers = {name: free_port() for name in ("http", "https", "closed", "mail", "echo", "grpc", "grpcs")}
        server = NameServer()
        stack.callback(server.close)
        numbers |= {"dns": server.port, "folder": folder}
        (folder / "nginx.conf").write_text(configure_nginx(NGINX.format(**numbers)))
        stack.enter_context(ended(Process([command("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"])))
        stack.enter_context(serve_lines("mail", numbers["mail"]))
        stack.enter_context(serve_lines("echo", numbers["echo"]))
        stack.enter_context(serve_grpc(numbers["grpc"], numbers["grpcs"], leaf))
        numbers |= stack.enter_context(dovecot(folder))
        eventually(lambda: answers(f"http://127.0.0.1:{numbers['http']}/health"), what="nginx answers")
        modules = {
            name: {"prober": prober, "timeout": "20s", prober: fill(options, numbers)}
            for name, (prober, options, _, _) in CASES.items()
        }
        config = folder / "blackbox.yml"
        config.write_text(yaml.safe_dump({"modules": modules}))
        address = f"127.0.0.1:{free_port()}"
        program = [
            command("prometheus-blackbox-exporter"),
            f"--config.file={config}",
            f"--web.listen-address={address}",
        ]
        stack.enter_context(ended(Process(program))).line("Listening on")
        eventually(lambda: answers(f"http://{address}/-/healthy"), what="blackbox_exporter answers")
        yield SimpleNamespace(numbers=numbers, config=config, address=address)


@pytest.mark.parametrize("name", CASES)
def test_the_check_and_the_module_have_the_same_verdict(name, peers, monkeypatch):
    target, passes = fill(CASES[name][2], peers.numbers), CASES[name][3]
    exposition = get(f"http://{peers.address}/probe?module={name}&target={quote(target, safe='')}").text
    conversion = convert_modules(Document.read(peers.config), None, [f"{name}={target}"])
    for variable in re.findall(r"{env: (\w+)}", conversion.text):
        monkeypatch.setenv(variable, SECRETS.get(name, "hunter2-password"))
    snapshot = run_all(parse([Text("health.yml", conversion.text.encode())]).checks)

    results = [state.status.value in ("pass", "warn") for state in snapshot.states.values()]
    assert f"\nprobe_success {int(passes)}\n" in exposition
    assert all(results) == passes, [state.result for state in snapshot.states.values()]
    assert "hunter2" not in conversion.text + "".join(map(str, conversion.notes))
