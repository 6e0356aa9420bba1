"""The exporter as a real process: addresses, signals, drain, reload, TLS and passwords."""

import base64
import contextlib
import http.client
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest
import trustme
from support import Answer, Exporter, ended, eventually, free_port, get

READY = """
checks:
  - name: ok
    exec: {command: ["true"]}
    periodSeconds: 1
    groups: [liveness, readiness, startup]
"""
UP = 'health_check_up{check="%s",kind="exec"}'
RUNS = 'health_check_runs_total{check="%s",kind="exec"}'
SINCE = 'health_check_last_transition_timestamp_seconds{check="%s",kind="exec"}'
LOADED = "health_exporter_config_last_reload_success_timestamp_seconds"
RELOADED = "health_exporter_config_last_reload_successful"


def checks(*names: str, period: int = 1) -> str:
    lines = [f"  - {{name: {name}, exec: {{command: ['true']}}, periodSeconds: {period}}}\n" for name in names]
    return f"checks:\n{''.join(lines)}"


def ready(exporter: Exporter) -> Exporter:
    eventually(lambda: exporter.get("/readyz").status == 200, what="it is ready")
    return exporter


def refused(*arguments: str) -> subprocess.CompletedProcess[str]:
    listen = () if "--web.listen-address" in arguments else ("--web.listen-address", "127.0.0.1:0")
    return subprocess.run(
        [sys.executable, "-m", "exporter", "serve", *listen, *arguments], capture_output=True, text=True, timeout=30
    )


# Addresses


@pytest.mark.parametrize("flag", ["--web.listen-address", "--probe.listen-address"])
def test_an_address_in_use_ends_the_start_with_one_line(flag):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = "{}:{}".format(*other.getsockname())
        done = refused(flag, address, *(["--web.listen-address", "127.0.0.1:0"] if flag.startswith("--probe") else []))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{address}: cannot listen: Address already in use; another process listens there, perhaps another exporter: "
        "stop it, or choose another port\n"
    )


def test_an_invalid_address_ends_the_start_with_one_line():
    done = refused("--web.listen-address", "nonsense")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nonsense: not an address; write HOST:PORT or :PORT, for example 127.0.0.1:4584\n"


def test_it_listens_on_every_address(start):
    exporter = start(READY, "--web.listen-address", "127.0.0.1:0", "--web.listen-address", "[::1]:0")
    addresses = re.findall(r"http\S+(?=/)", exporter.line("msg=listening").string)

    assert len(addresses) == 2
    assert [get(f"{address}/livez").status for address in addresses] == [200, 200]


def test_the_probe_listener_has_the_probe_paths_only(start):
    exporter = start(READY, "--probe.listen-address", "127.0.0.1:0")
    main = exporter.url
    probes = exporter.line(rf"msg=listening address=(?!{main})(\S+)/").group(1)
    ready(exporter)

    assert [get(probes + path).status for path in ("/livez", "/readyz", "/healthz/ok")] == [200] * 3
    assert [get(probes + path).status for path in ("/-/healthy", "/-/ready")] == [200] * 2
    assert [get(probes + path).status for path in ("/", "/metrics", "/-/reload")] == [404] * 3


# Signals


def test_sigterm_withdraws_readiness_and_serving_continues_for_the_delay(start):
    exporter = ready(start(READY, "--shutdown-delay", "2"))

    exporter.signal(signal.SIGTERM)
    began = time.monotonic()
    exporter.line("shutting down")
    seen = [(exporter.get("/livez").status, exporter.get("/readyz").status)]
    with contextlib.suppress(OSError):
        while True:
            runs = exporter.metrics()[RUNS % "ok"]
            seen.append((exporter.get("/livez").status, exporter.get("/readyz").status))
            time.sleep(0.05)

    assert exporter.wait() == 0
    assert time.monotonic() - began > 1.9
    assert set(seen) == {(200, 503)}
    assert len(seen) > 10
    assert runs > 1
    assert exporter.lines[-1].endswith("msg=stopped")


def test_readiness_does_not_come_back(start):
    exporter = ready(start(READY, "--shutdown-delay", "60"))
    exporter.signal(signal.SIGTERM)
    exporter.line("shutting down")
    before = exporter.get("/healthz").generation

    eventually(lambda: exporter.get("/healthz").generation > before + 1, what="runs go on")

    assert exporter.get("/readyz").text == "[+]ok ok\n[-]shutdown failed: shutting down\nreadyz check failed\n"
    assert exporter.metrics()['health_group_up{group="readiness"}'] == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)],
)
def test_a_second_signal_ends_the_drain_at_once(start, first, second):
    exporter = ready(start(READY, "--shutdown-delay", "3600"))
    exporter.signal(first)
    exporter.line("shutting down")

    exporter.signal(second)

    assert exporter.wait() == 0


def test_sigterm_during_the_start_is_a_clean_end():
    """From the first moment at which Python can handle it; as PID 1, the process would not receive an earlier one."""
    arguments = [sys.executable, "-m", "exporter", "serve", "--web.listen-address", "127.0.0.1:0", "--shutdown-delay"]
    for moments in ((0, 0.03, 0.1), (0.2, 0.4, 0.8)):
        children = [
            subprocess.Popen([*arguments, "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in moments
        ]
        try:
            for child, moment in zip(children, moments, strict=True):
                eventually(lambda child=child: catches(child.pid, signal.SIGTERM))
                threading.Timer(moment, child.send_signal, (signal.SIGTERM,)).start()
            for child in children:
                said, _ = child.communicate(timeout=20)
                assert child.returncode == 0, said
                assert "Traceback" not in said
        finally:
            for child in children:
                child.kill()
                child.wait()


def catches(pid: int, number: signal.Signals) -> bool:
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def test_exec_children_end_with_the_exporter(start, tmp_path):
    """With their own children, even if they ignore signals."""
    script = tmp_path / "hang.sh"
    script.write_text("trap '' TERM\nsleep 1000 &\necho $! $$ > pids.new\nmv pids.new pids\nwait\n")
    command = f"cd {tmp_path} && . ./hang.sh"
    exporter = start(f"checks: [{{name: hangs, exec: {{command: [sh, -c, {command}]}}, timeoutSeconds: 600}}]")
    eventually((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]

    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0
    eventually(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], what="they are gone")


def test_a_hung_check_does_not_delay_the_end(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        exporter = start(f"checks: [{{name: hangs, httpGet: {{port: {port}}}, timeoutSeconds: 600}}]")
        connection, _ = silent.accept()
        with connection:
            exporter.signal(signal.SIGTERM)

            assert exporter.wait() == 0  # long before the check's timeout


def test_a_blocked_standard_output_blocks_nothing(tmp_path):
    """Not checks, answers or the end of the process; lost lines are counted."""
    config = tmp_path / "health.yml"
    config.write_text(READY)
    url = f"http://127.0.0.1:{free_port()}"
    arguments = ["serve", "--config.file", str(config), "--web.listen-address", url.removeprefix("http://")]
    command = [sys.executable, "-m", "exporter", *arguments, "--shutdown-delay", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            eventually(lambda: answers(f"{url}/readyz"))
            for _ in range(600):
                assert get(f"{url}/{'x' * 200}", timeout=5).status == 404
            before = get(f"{url}/healthz").generation
            eventually(lambda: get(f"{url}/healthz").generation > before + 1, what="runs go on")
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0
            assert child.stderr is not None
            assert child.stderr.read() == b""
        finally:
            child.kill()


def test_it_runs_with_a_closed_standard_output(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    serve = f"{sys.executable} -m exporter serve --web.listen-address {url.removeprefix('http://')} --shutdown-delay 0"
    with subprocess.Popen(["sh", "-c", f"exec {serve} >&-"], stderr=subprocess.PIPE) as child:
        try:
            eventually(lambda: answers(f"{url}/livez"))
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0
        finally:
            child.kill()


def answers(url: str, status: int = 200) -> bool:
    with contextlib.suppress(OSError):
        return get(url).status == status
    return False


# Reload


@pytest.fixture
def config(tmp_path):
    return tmp_path / "health.yml"


def test_sighup_reloads_the_file(start, config):
    """Unchanged checks keep their counters, changed ones start from zero, and removed ones leave nothing behind."""
    exporter = start(checks("same", "changed", "removed"))
    eventually(lambda: exporter.metrics()[RUNS % "same"] >= 2 and exporter.metrics()[RUNS % "changed"] >= 2)
    config.write_text(
        checks("same", "new") + "  - {name: changed, exec: {command: ['true', 'x']}, periodSeconds: 60}\n"
    )

    exporter.signal(signal.SIGHUP)
    exporter.line(r"configuration loaded.* checks=3")

    metrics = exporter.metrics()
    assert metrics[RUNS % "same"] >= 2
    assert metrics[RUNS % "changed"] <= 1
    assert RUNS % "new" in metrics
    assert not [sample for sample in metrics if 'check="removed"' in sample]
    assert exporter.get("/healthz/removed").status == 404
    assert metrics[RELOADED] == 1


def test_a_changed_file_is_loaded(start, config, tmp_path):
    """Written in place, replaced, or as a ConfigMap's symlink."""
    exporter = start(checks("before"))
    assert exporter.get("/healthz/before").status in (200, 503)

    config.write_text(checks("written"))
    eventually(lambda: exporter.get("/healthz/written").status == 200)
    assert exporter.get("/healthz/before").status == 404

    (tmp_path / "new").write_text(checks("replaced"))
    (tmp_path / "new").replace(config)
    eventually(lambda: exporter.get("/healthz/replaced").status == 200)

    swap(tmp_path, "1", checks("link"))
    config.unlink()
    config.symlink_to("..data/health.yml")
    eventually(lambda: exporter.get("/healthz/link").status == 200)
    swap(tmp_path, "2", checks("swapped"))
    eventually(lambda: exporter.get("/healthz/swapped").status == 200)
    assert exporter.get("/healthz/link").status == 404


def swap(volume: Path, version: str, content: str) -> None:
    """Update the file as the kubelet updates a ConfigMap: a new folder, and one rename of the link to it."""
    (volume / version).mkdir()
    (volume / version / "health.yml").write_text(content)
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").rename(volume / "..data")


DAMAGES = {
    "bad": (lambda file: file.write_text("checks:\n  - {name: x, exec: {command: []}}\n"), r"yml:2: checks\[0\]"),
    "half": (lambda file: file.write_text("checks:\n  - {name: half, exe"), r"health\.yml:\d+: not YAML"),
    "empty": (lambda file: file.write_text(""), r"health\.yml: is empty"),
    "deleted": (lambda file: file.unlink(), "cannot be read: No such file or directory"),
    "folder": (lambda file: (file.unlink(), file.mkdir()), r"cannot be read: the folder has no \*\.yml"),
}


def test_an_invalid_file_keeps_the_running_configuration(start, config):
    """A metric and the log report it, and the next valid file is loaded."""
    exporter = start(checks("before"))
    eventually(lambda: exporter.get("/healthz/before").status == 200)
    since = exporter.metrics()[SINCE % "before"]

    for name, (damage, complaint) in DAMAGES.items():
        loaded = exporter.metrics()[LOADED]
        damage(config)
        exporter.signal(signal.SIGHUP)

        exporter.line(rf'level=error msg="configuration not loaded; keeping the previous one" error=.*{complaint}')
        metrics = exporter.metrics()
        assert metrics[RELOADED] == 0
        assert metrics[LOADED] == loaded
        assert metrics[UP % "before"] == 1

        if config.is_dir():
            config.rmdir()
        config.write_text(checks("before", name))
        exporter.signal(signal.SIGHUP)
        eventually(lambda: exporter.metrics()[RELOADED] == 1)
        eventually(lambda name=name: exporter.get(f"/healthz/{name}").status == 200)
    assert exporter.metrics()[SINCE % "before"] == since


def test_a_storm_of_reloads_ends_with_the_latest_file(start, config):
    exporter = start(checks("zero"), "--web.enable-lifecycle")
    eventually(lambda: exporter.get("/healthz/zero").status == 200)

    for number in range(30):
        (config.parent / "new").write_text(checks("zero", f"n{number}"))
        (config.parent / "new").replace(config)
        exporter.signal(signal.SIGHUP)

    eventually(lambda: exporter.get("/healthz/n29").status == 200)
    assert exporter.get("/-/reload", method="POST").status == 200
    assert exporter.metrics()[RELOADED] == 1
    assert {name for name in exporter.metrics() if name.startswith("health_check_up")} == {UP % "zero", UP % "n29"}


# TLS and passwords


def certificate(folder: Path, authority: trustme.CA) -> None:
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


@pytest.fixture
def guard(tmp_path):
    """A file of TLS and passwords, and the client's context."""
    authority = trustme.CA()
    certificate(tmp_path, authority)
    (tmp_path / "web.yml").write_text(
        "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n"
        f"basic_auth_users:\n  ops: {bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode()}\n"
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return tmp_path / "web.yml", context, authority


def ask(url: str, path: str, context: ssl.SSLContext, password: str | None = None) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=10, context=context)
    headers = {"Authorization": f"Basic {base64.b64encode(f'ops:{password}'.encode()).decode()}"} if password else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.msg, response.read())
    finally:
        connection.close()


def test_tls_and_passwords_are_for_the_main_listener_only(start, guard):
    file, context, _ = guard
    exporter = start(READY, "--web.config.file", str(file), "--probe.listen-address", "127.0.0.1:0")
    main = exporter.line(r"address=(https\S+)/").group(1)
    probes = exporter.line(r"address=(http:\S+)/").group(1)

    for path in ("/livez", "/metrics", "/", "/-/healthy"):
        assert ask(main, path, context).status == 401
        assert ask(main, path, context, "wrong").status == 401
        assert ask(main, path, context, "right").status == 200
    assert get(f"{probes}/livez").status == 200
    assert ask(main, "/livez", context, "right").generation > 0
    with pytest.raises((OSError, http.client.HTTPException)):  # however TLS says no
        get(main.replace("https", "http") + "/livez")


def test_wrong_passwords_do_not_delay_probes(start, guard):
    """Checking a password is slow on purpose; the plain listener is not affected."""
    file, context, _ = guard
    slow = bcrypt.hashpw(b"right", bcrypt.gensalt(13)).decode()
    file.write_text(re.sub(r"ops: \S+", f"ops: {slow}", file.read_text()))
    exporter = start(READY, "--web.config.file", str(file), "--probe.listen-address", "127.0.0.1:0")
    main = exporter.line(r"address=(https\S+)/").group(1)
    probes = exporter.line(r"address=(http:\S+)/").group(1)
    ready_within(f"{probes}/readyz")
    over = threading.Event()
    codes: list[int] = []

    def attack() -> None:
        while not over.is_set():
            codes.append(ask(main, "/livez", context, f"wrong{len(codes)}").status)

    attackers = [threading.Thread(target=attack) for _ in range(3)]
    for attacker in attackers:
        attacker.start()
    try:
        eventually(lambda: codes)
        before = len(codes)
        for _ in range(50):
            assert get(f"{probes}/livez").status == 200
        compared = len(codes) - before
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()

    assert compared < 50  # a probe that waited for a password would see at least one comparison end
    assert set(codes) <= {401, 503}  # 503 if another password for the same user from here waits already


def ready_within(url: str) -> None:
    eventually(lambda: answers(url), what=f"{url} answers 200")


def test_a_renewed_certificate_is_served_without_a_restart(start, guard):
    file, context, _ = guard
    exporter = start(READY, "--web.config.file", str(file))
    main = exporter.line(r"address=(https\S+)/").group(1)
    assert ask(main, "/livez", context, "right").status == 200

    (file.parent / "tls.key").write_text("half a key")
    exporter.line("certificate not loaded; keeping the previous one")
    assert ask(main, "/livez", context, "right").status == 200

    other = trustme.CA()
    certificate(file.parent, other)
    renewed = ssl.create_default_context()
    other.configure_trust(renewed)
    exporter.line("certificate loaded")
    assert ask(main, "/livez", renewed, "right").status == 200


# Logs


def test_transitions_and_failures_are_logged_and_successful_requests_are_not(start, tmp_path):
    flag = tmp_path / "flag"
    exporter = start(
        f"""
        checks:
          - name: flag
            exec: {{command: [test, -e, {flag}]}}
            periodSeconds: 1
            failureThreshold: 1
        """
    )
    exporter.line(
        r'level=warn msg="check flag: unknown -> fail \(exit\): [^"]+" check=flag kind=exec status=fail reason=exit'
    )
    flag.touch()
    eventually(
        lambda: exporter.get("/readyz?exclude=flag").status == 200 and exporter.get("/readyz/flag").status == 200
    )
    exporter.line(r'level=info msg="check flag: fail -> pass: [^"]+"')
    before = len(exporter.lines)
    for path in ("/livez", "/readyz", "/metrics", "/", "/-/healthy"):
        assert exporter.get(path).status == 200
    for path in ("/nope", "/%0alevel=error%0d%22"):
        assert exporter.get(path).status == 404
    exporter.line("level=error", after=before)

    assert [re.sub(r"^ts=\S+ ", "", re.sub(r"generation=\d+", "", line)) for line in exporter.lines[before:]] == [
        'level=info msg="answered 404: GET /nope" method=GET path=/nope client=127.0.0.1 ',
        (
            'level=info msg="answered 404: GET /?level=error?\\"" method=GET path="/\\nlevel=error\\r\\"" '
            "client=127.0.0.1 "
        ),
    ]


def test_an_answer_of_503_says_which_checks_and_why(start):
    exporter = start(
        """
        checks:
          - name: no
            exec: {command: ["false"]}
            periodSeconds: 1
            failureThreshold: 1
        """,
        "--log.format",
        "json",
    )
    address = re.compile(r'"address": "(\S+)/"')
    url = exporter.line(address.pattern).group(1)
    eventually(lambda: get(f"{url}/healthz?format=json").status == 503 and "exit" in get(f"{url}/healthz/no").text)

    assert get(f"{url}/readyz").status == 503
    exporter.line(
        r'"msg": "answered 503: GET /readyz: no \(exit\)", "method": "GET", "path": "/readyz", "because": "no \(exit\)"'
    )


def test_log_level_error_logs_errors_only(start):
    exporter = start(READY, "--log.level", "error", "--web.listen-address", f"127.0.0.1:{free_port()}")
    with ended(exporter):
        pass

    assert exporter.lines == []
