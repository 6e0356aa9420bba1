"""Secrets are never shown: a canary in every place of a configuration that can hold one, and every way to fail."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

import commands
import pytest
from config.canaries import BROKEN_YAML, make_samples, shows_canary, write_json
from support import PATIENCE, eventually, free_port, get

CANARY = "tweety"
HEADER = f"{{name: Authorization, value: Bearer {CANARY}}}, {{name: X-Api-Key, value: {CANARY}}}"


def _serve(stack: ExitStack, answer: bytes, *, reset: bool = False) -> int:
    """A server that reads a request and sends this response, resets the connection, or sends nothing."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def work() -> None:
        with ExitStack() as held:
            while True:
                try:
                    client = held.enter_context(listener.accept()[0])
                except OSError:
                    return
                if not answer and not reset:
                    continue  # silent, and open
                client.recv(65536)
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                else:
                    client.sendall(answer)
                client.close()

    threading.Thread(target=work, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Checks that fail in every way, each with a canary in its query, its headers or its arguments."""
    redirect = f"HTTP/1.1 302 Found\r\nLocation: http://probe:{CANARY}@elsewhere.invalid/?t={CANARY}\r\n\r\n"
    loop = f"HTTP/1.1 302 Found\r\nLocation: /again?token={CANARY}\r\nContent-Length: 0\r\n\r\n"
    answers = {
        "well": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "bad": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
        "garbage": b"SMTP? no\r\n\r\n",
        "redirect": redirect.encode(),
        "badlocation": f"HTTP/1.1 302 Found\r\nLocation: http://[{CANARY}\r\n\r\n".encode(),
        "ftp": f"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/{CANARY}?{CANARY}\r\n\r\n".encode(),
        "loop": loop.encode(),
        "silent": b"",
    }
    with ExitStack() as stack:
        ports = {name: _serve(stack, answer) for name, answer in answers.items()}
        ports["reset"] = _serve(stack, b"", reset=True)
        ports["refused"] = free_port()
        checks = [
            f"{{name: {name}, httpGet: {{path: '/p?token={CANARY}', port: {port}, httpHeaders: [{HEADER}]}}}}"
            for name, port in ports.items()
        ]
        secret = "{env: SECRET}"
        tls = f"{{path: '/?{CANARY}', port: {ports['bad']}, scheme: HTTPS, httpHeaders: [{HEADER}]}}"
        split = f"{{path: '/?{CANARY}', port: {ports['bad']}, httpHeaders: [{{name: A, value: \"x\\r\\n{CANARY}\"}}]}}"
        checks += [
            f"{{name: tls, httpGet: {tls}}}",
            f"{{name: split, httpGet: {split}}}",
            f"{{name: name, httpGet: {{path: '/?{CANARY}', port: 80, host: no.such.host.invalid}}}}",
            f"{{name: userinfo, httpGet: {{path: 'http://probe:{CANARY}@127.0.0.1/x', port: {ports['bad']}}}}}",
            f"{{name: bearer, httpGet: {{port: {ports['bad']}, bearerToken: {{env: SECRET}}}}}}",
            f"{{name: basic, httpGet: {{port: {ports['garbage']}, basicAuth: {{username: u, password: {secret}}}}}}}",
            f"{{name: redis, redis: {{port: {ports['garbage']}, password: {{env: SECRET}}}}}}",
            f"{{name: mysql, mysql: {{port: {ports['garbage']}, username: u, password: {{env: SECRET}}}}}}",
            f"{{name: postgresql, postgresql: {{port: {ports['bad']}, username: u, password: {{env: SECRET}}}}}}",
            f"{{name: exit, exec: {{command: [sh, -c, 'exit 1', {CANARY}]}}}}",
            f"{{name: missing, exec: {{command: [no-such-command, --password={CANARY}]}}}}",
            f"{{name: late, exec: {{command: [sh, -c, 'sleep 5', {CANARY}]}}}}",
        ]
        file = tmp_path_factory.mktemp("secrets") / "health.yml"
        timing = "periodSeconds: 2, failureThreshold: 1"
        lines = (f"  - {check.removesuffix('}')}, {timing}}}" for check in checks)
        file.write_text("checks:\n" + "\n".join(lines) + "\n")
        yield file


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_serving_exporter_shows_no_secret(start, config, form):
    exporter = start(config.read_text(), "--log.level", "debug", "--log.format", form, env={"SECRET": CANARY})
    address = re.search(r"http://[\d.:]+", exporter.line("http://").string)[0]

    def shown(path: str, **headers: str) -> str:
        return get(address + path, headers=headers).text

    eventually(lambda: shown("/metrics").count("health_check_last_run_timestamp_seconds{") >= 23)
    eventually(lambda: 'check="silent",kind="httpGet",reason="timeout"' in shown("/metrics"))
    texts = [
        shown("/"),
        shown("/metrics"),
        shown("/metrics", Accept="application/openmetrics-text"),
        *(shown(f"/{path}?{how}") for path in ("healthz", "readyz", "livez") for how in ("verbose", "format=json")),
        *(shown(f"/readyz/{name}") for name in ("silent", "garbage", "exit")),
        *exporter.lines,
    ]

    assert [text for text in texts if CANARY in text] == []
    assert any("reset" in text for text in exporter.lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--config.file"],
        *(["check", f"--format={form}"] for form in ("json", "junit", "nagios", "prometheus", "tap")),
        ["validate"],
        ["validate", "--format=github"],
    ],
)
def test_the_commands_show_no_secret(config, arguments):
    done = commands.run(*arguments, config, env={"SECRET": CANARY})

    assert CANARY not in done.stdout + done.stderr
    assert "reset" in done.stdout or {"validate", "--format=prometheus"} & {*arguments}


ENVIRONMENT = {"WEB": f"{CANARY}-web", "CACHE": f"{CANARY}-cache", "PLAIN": "plain", "NEW": f"{CANARY}-new"}
PRINTS = """
checks:
  - name: prints
    exec: {command: [sh, -c, 'echo $$WEB. $$CACHE. $$NEW. $$PLAIN.']}
    periodSeconds: 1
    timeoutSeconds: 9
  - name: names
    exec: {command: [sh, -c, 'echo $$A.'], env: [{name: A, value: $(CACHE)}]}
    periodSeconds: 1
    timeoutSeconds: 9
  - {name: web, httpGet: {port: 1, basicAuth: {username: u, password: {env: WEB}}}}
  - {name: cache, redis: {port: 1, password: {env: CACHE}}}
"""


def test_a_command_gets_no_variable_that_a_secret_of_any_check_is_read_from(start, tmp_path):
    """The check `prints` is unchanged by the reload, which adds another secret."""
    exporter = start(PRINTS, env=ENVIRONMENT)

    def summaries() -> str:
        return exporter.get("/").text

    eventually(lambda: f"sh exited with 0: . . {CANARY}-new. plain." in summaries())
    eventually(lambda: f"sh exited with 0: {CANARY}-cache." in summaries())

    (tmp_path / "health.yml").write_text(PRINTS + "  - {name: new, httpGet: {port: 1, bearerToken: {env: NEW}}}\n")
    eventually(lambda: "sh exited with 0: . . . plain." in summaries())


def test_the_command_check_withholds_secrets_of_checks_that_it_does_not_run(tmp_path):
    (tmp_path / "health.yml").write_text(PRINTS)
    command = [sys.executable, "-m", "exporter", "check", "--config.file", tmp_path / "health.yml", "--name", "prints"]
    done = subprocess.run(
        command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=5 * PATIENCE
    )

    assert f"sh exited with 0: . . {CANARY}-new. plain." in done.stdout


def test_a_shard_withholds_secrets_of_checks_that_another_shard_runs(start):
    exporters = [start(PRINTS, "--shard", str(number), "--shards", "4", env=ENVIRONMENT) for number in range(4)]

    def find_shard() -> str | None:
        texts = [exporter.get("/").text for exporter in exporters]
        return next((text for text in texts if "sh exited with 0: . ." in text), None)

    shown = eventually(find_shard)
    assert f"sh exited with 0: . . {CANARY}-new. plain." in shown
    assert not all(f"<small>{kind} " in shown for kind in ("httpGet", "redis")), "this shard runs all checks itself"


@pytest.fixture(scope="module")
def wrong_files():
    """Files with a canary in a wrong place, each with errors."""
    return [write_json(make_samples()), *BROKEN_YAML]


def test_a_reload_of_a_wrong_file_shows_no_secret(start, tmp_path, wrong_files):
    exporter = start("checks: []\n", "--web.enable-lifecycle", "--log.level", "debug")
    url, shown = exporter.url, []
    for text in wrong_files:
        (tmp_path / "health.yml").write_text(text)
        answer = get(f"{url}/-/reload", method="POST")
        assert answer.status == 500
        shown += [answer.text, *map(str, answer.headers.items())]
    logged = len(exporter.lines)
    exporter.signal(signal.SIGHUP)
    exporter.line("configuration not loaded", after=logged)
    shown += [get(url + path).text for path in ("/", "/metrics", "/healthz?verbose", "/-/healthy")]
    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0

    assert [text for text in [*shown, *exporter.lines] if shows_canary(text)] == []
    assert sum("checks[" in text for text in shown) > 0
    assert sum("configuration not loaded" in line for line in exporter.lines) > len(wrong_files)


@pytest.mark.parametrize("command", ["validate", "check", "serve"])
def test_a_command_with_a_wrong_file_shows_no_secret(tmp_path, wrong_files, command):
    file = tmp_path / "health.yml"
    file.write_text(wrong_files[0])
    if command == "serve":
        serve = [sys.executable, "-m", "exporter", "serve", "--web.listen-address", "127.0.0.1:0", "--config.strict"]
        done = subprocess.run([*serve, "--config.file", file], capture_output=True, text=True, timeout=PATIENCE)
    else:
        done = commands.run(command, *(["--config.file"] if command == "check" else []), file)

    assert done.returncode == 2
    assert not shows_canary(done.stdout + done.stderr)
    assert (done.stdout + done.stderr).count("checks[") > 100
