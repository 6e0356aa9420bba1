"""The exporter inside applications whose server replaces threads by greenlets, or forks after the import."""

import json
import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kinds.daemons import folder, mariadb, postgres, run_postgres_program
from kinds.name_servers import name_server, zone
from kinds.pages import OK, tls
from kinds.servers import accept, receive_close, serving
from support import PATIENCE, Process, Prometheus, command, ended, eventually, free_port, get, unavailable

MODELS = Path(__file__).parent / "models"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    """A configuration with checks of real targets, each of which is healthy."""
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("targets")
        http = stack.enter_context(serving((OK,)))
        https = stack.enter_context(serving((OK,), tls=tls("localhost")))
        talk = stack.enter_context(serving((b"250 hello\r\n",)))
        live = stack.enter_context(serving((accept, receive_close), listens=False))
        names = stack.enter_context(name_server(zone))
        kinds = {
            "httpGet": {"host": "localhost", "port": http.port},
            "httpGet ": {"host": "localhost", "port": https.port, "scheme": "HTTPS", "phases": True},
            "tcpSocket": {"host": "localhost", "port": http.port},
            "tcpSocket ": {"port": talk.port, "send": "EHLO\r\n\r\n", "expect": "250"},
            "certificate": {"host": "localhost", "port": https.port, "warnDays": 0.001, "failDays": 0.0001},
            "dns": {"name": "shop.example", "server": "127.0.0.1", "port": names.port},
            "dns ": {"name": "many.example", "server": "localhost", "port": names.port},  # over TCP
            "redis": {"host": "localhost", "port": start_redis(stack, home)},
            "mysql": {"host": "localhost", "port": start_mariadb(stack), "username": "health"},
            "postgresql": {"host": "localhost", "port": start_postgresql(stack), "username": "postgres"},
            "grpc": {"port": start_grpc(stack)},
            "websocket": {"host": "localhost", "port": live.port},
            "icmp": {"host": "localhost"},
            "promql": {"url": start_prometheus(stack, home), "query": "vector(1)"},
            "exec": {"command": ["sh", "-c", "sleep 0.01; echo well"]},
            "file": {"path": "health.yml"},
            "disk": {"path": "/"},
            "process": {"name": "redis-server"},
            "memory": {},
            "loadAverage": {"failRatio": 10000},
            "cpu": {"failRatio": 10000},
        }
        names = ((name, name.strip(), options) for name, options in kinds.items())
        yield {f"{kind}{'-2' if kind != name else ''}": {kind: options} for name, kind, options in names}


def start_redis(stack, home):
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = stack.enter_context(ended(Process([command("redis-server"), *arguments], cwd=home)))
    process.line("Ready to accept connections")
    return port


def start_mariadb(stack):
    home, port = stack.enter_context(folder("mysql")), free_port()
    stack.enter_context(mariadb(home, "", f"--port={port}", "--bind-address=127.0.0.1", "--skip-grant-tables"))
    return port


def start_postgresql(stack):
    home = stack.enter_context(folder("postgres"))
    run_postgres_program(home, "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync")
    return stack.enter_context(postgres(home, home / "data")).port


def start_grpc(stack):
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = grpc_health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait(5))
    return port


def start_prometheus(stack, home):
    (home / "prometheus.yml").write_text("{}")
    return stack.enter_context(ended(Prometheus(home / "prometheus.yml"))).url


@pytest.fixture
def application(tmp_path):
    """Start the application by a command, and return the process, which prints its address."""
    with ExitStack() as stack:

        def start(arguments, checks):
            timing = {"periodSeconds": 1, "timeoutSeconds": 20, "failureThreshold": 1}
            content = {"checks": [{"name": name, **check, **timing} for name, check in checks.items()]}
            (tmp_path / "health.yml").write_text(yaml.safe_dump(content))
            path = os.pathsep.join([str(MODELS), str(ROOT), sysconfig.get_path("purelib")])
            return stack.enter_context(ended(Process(arguments, {"PYTHONPATH": path}, cwd=tmp_path)))

        yield start


def gunicorn(*flags, module="app"):
    return [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "--no-control-socket", *flags, f"{module}:app"]


def uwsgi(*flags):
    """The command for Debian's uWSGI, with the plugin for this Python, and its address."""
    plugin = f"python3{sys.version_info.minor}"
    if not Path(f"/usr/lib/uwsgi/plugins/{plugin}_plugin.so").exists():
        unavailable(f"uwsgi-plugin-python3 for {plugin} is not installed (tests/peers.sh installs it for Debian's)")
    address = f"127.0.0.1:{free_port()}"
    arguments = ["--plugin", plugin, "--http-socket", address, "--master", "--die-on-term", "--wsgi", "started:app"]
    return [command("uwsgi"), *arguments, *flags], f"http://{address}"


SERVERS = {
    "gevent": gunicorn("-k", "gevent"),
    "eventlet": [sys.executable, "-W", "ignore", str(MODELS / "serve_eventlet.py")],
    "threads": gunicorn("-k", "gthread"),
    "preloaded": gunicorn("-k", "gthread", "--preload", module="started"),
}


@pytest.mark.parametrize("model", SERVERS)
def test_every_kind_passes(application, checks, model):
    process = application(SERVERS[model], checks)
    url = process.line(r"Listening at: (http://\S+)").group(1)

    def find_faults():
        """A list with the checks that have not passed, once every one has run three times."""
        checks = json.loads(get(f"{url}/health/healthz?format=json").body)["checks"]
        states = {name: state[0] for name, state in checks.items()}
        if any(state["runs"] < 3 for state in states.values()):
            return None
        return [[name for name, state in states.items() if state["status"] != "pass"]]

    (faults,) = eventually(find_faults, within=5 * PATIENCE)

    assert not faults, "\n".join(process.lines)


@pytest.mark.parametrize("call", ["path", "grpc"])
@pytest.mark.parametrize("model", ["gevent", "eventlet"])
def test_a_call_that_blocks_its_thread_does_not_stop_the_other_greenlets(model, call):
    arguments = [sys.executable, "-W", "ignore", str(MODELS / "blocking.py"), model, call]
    with ended(Process(arguments, {"PYTHONPATH": str(ROOT)})) as process:
        process.line("^timeout|^TimeoutError")

        assert int(process.line(r"^ticks=(\d+)").group(1)) > 1


def test_calls_that_block_have_a_limited_number_of_threads_under_gevent():
    arguments = [sys.executable, str(MODELS / "blocking.py"), "gevent", "many"]
    with ended(Process(arguments, {"PYTHONPATH": str(ROOT)})) as process:
        most, limit = process.line(r"most=(\d+) of (\d+)").groups()

    assert most == limit


@pytest.mark.parametrize("flags", [(), ("--py-call-osafterfork",)], ids=["unaware", "aware"])
def test_a_worker_of_uwsgi_runs_the_checks_although_the_master_has_started(application, flags):
    with serving((OK,)) as server:
        arguments, url = uwsgi("--enable-threads", *flags)
        checks = {
            "web": {"httpGet": {"host": "localhost", "port": server.port}},
            "here": {"file": {"path": "health.yml"}},
        }
        process = application(arguments, checks)
        process.line("all checks have passed")  # in the master, which has resolved a name
        process.line("spawned uWSGI worker")

        def passes():
            with suppress(OSError):
                answers = [get(f"{url}/health/readyz/{name}") for name in ("web", "here", "function")]
                return [answer.status for answer in answers] == [200, 200, 200]

        assert eventually(passes, within=3 * PATIENCE)


def test_uwsgi_without_threads_is_refused(application):
    arguments, _ = uwsgi()
    process = application(arguments, {"here": {"file": {"path": "health.yml"}}})

    process.line(
        "RuntimeError: the checks do not run, because this uWSGI has no threads: start it with --enable-threads"
    )


@pytest.mark.parametrize("way", ["os", "multiprocessing"])
def test_every_kind_passes_in_a_forked_process_although_its_parent_held_every_lock(application, checks, way):
    process = application([sys.executable, str(MODELS / "forking.py"), way], checks)

    assert process.line(r"in the child: (.*)", within=5 * PATIENCE).group(1) == "[]", "\n".join(process.lines)
