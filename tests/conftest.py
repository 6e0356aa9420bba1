"""Fixtures that start processes and servers for a test and stop them after it, and the rule that marks slow tests."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from inspect import unwrap
from pathlib import Path
from textwrap import dedent
from types import CodeType, FunctionType

import hypothesis
import pytest
import trustme
from support import Clock, Exporter, Process, command, configure_nginx, ended, eventually, free_port, get
from web_files import issue

# A shell starts a background job with this signal ignored, and what is ignored stays so in every process we start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# promtool, Prometheus, kubectl and the others collect garbage less often: it takes a sixth of promtool's CPU time.
os.environ.setdefault("GOGC", "400")

# No example has a time limit: on a busy machine, one may take much longer than the others. Each run has other examples,
# and every change runs the tests twice, so half of hypothesis' default is enough.
hypothesis.settings.register_profile("frequent", hypothesis.settings.default, deadline=None, max_examples=50)
hypothesis.settings.load_profile("frequent")

# Tests that take seconds although their code starts no process, by the beginning of their names; found by --durations.
LONG = ("e2e/", "faults/", "image/", "k8s/test_manifests.py::test_every_object", "test_docs.py::test_the_demo")

# Tests of what people read, such as pages, rules and dashboards. They pass or fail alike on every Python.
TEXTS = (
    "alerts/",
    "dashboards/",
    "docs/",
    "test_decisions.py",
    "test_faults.py",
    "test_language.py",
    "test_time_bounds.py",
)

# Files that take minutes. `make test` distributes whole files, and without this order it would end with one of these.
FIRST = ("faults/test_keeper.py", "alerts/", "image/", "k8s/", "faults/", "e2e/")


def pytest_xdist_auto_num_workers() -> int:
    """At least four: the tests wait for about half of their time, for timeouts and for other programs."""
    return max(4, os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Collect without the garbage collector: almost no object is garbage, and examining them takes half of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` each test that starts a process, itself or through a fixture or a helper, or that is LONG.

    Those that start Prometheus or promtool are marked as `prometheus` too, and TEXTS as `text`. The files in FIRST come
    first.
    """
    items.sort(
        key=lambda item: next(
            (place for place, name in enumerate(FIRST) if item.nodeid.startswith(f"tests/{name}")), len(FIRST)
        )
    )
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        fixtures = [definitions[-1].func for definitions in item._fixtureinfo.name2fixturedefs.values()]
        marks = {mark for function in (item.function, *fixtures) for mark in find_marks(function)}
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            marks.add("slow")
        if item.nodeid.removeprefix("tests/").startswith(TEXTS):
            marks.add("text")
        if item.get_closest_marker("prometheus3"):
            marks.discard("prometheus")  # that is for tests that any version passes
        for mark in marks:
            item.add_marker(mark)


@cache
def find_marks(function: FunctionType) -> frozenset[str]:
    """The marks for the programs that this function starts, itself or through the helpers in tests/ that it uses."""
    marks, functions = set(), [function]
    for part in functions:
        names, texts = contents(part.__code__)
        values = [unwrap(part.__globals__.get(name)) for name in names]  # through contextlib.contextmanager
        if subprocess in values or command in values:
            marks.add("slow")
        if command in values and texts & {"prometheus", "promtool"}:
            marks.add("prometheus")
        functions += (used for value in values for used in helpers(value) if used not in functions)
    return frozenset(marks)


@cache
def contents(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names and attributes, and the texts, in a function's code and in the functions defined inside it."""
    inner = [contents(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    texts = [constant for constant in code.co_consts if isinstance(constant, str)]
    return (
        frozenset(code.co_names).union(*(names for names, _ in inner)),
        frozenset(texts).union(*(found for _, found in inner)),
    )


def helpers(value: object) -> list[FunctionType]:
    """A function of tests/ itself, or the methods of a class, also those that it inherits from a class of tests/."""
    methods = [method for base in value.__mro__ for method in vars(base).values()] if isinstance(value, type) else []
    functions = [part for part in (value, *methods) if isinstance(part, FunctionType)]
    return [function for function in functions if "/tests/" in function.__code__.co_filename]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    """Start the exporter: `start(yaml, *flags)` writes the YAML to `health.yml` in `tmp_path` and serves it."""
    with ExitStack() as stack:

        def start_(
            yaml: str | None = None, *flags: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
        ) -> Exporter:
            config = None
            if yaml is not None:
                config = tmp_path / "health.yml"
                config.write_text(dedent(yaml))
            return stack.enter_context(ended(Exporter(*flags, config=config, env=env, prefix=prefix)))

        yield start_


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port on which no connection completes, because the listener's queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        yield port


class Server:
    """A real web server that can be stopped and started again on the same port."""

    def __init__(self, folder: Path, name: str, arguments: list[str], port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._name = name
        self._arguments = arguments
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process([command(self._name), *self._arguments], cwd=self.folder)
        eventually(self.answers, what=f"{self._name} answers")

    def answers(self) -> bool:
        try:
            return get(f"{self.url}/", timeout=2).status > 0
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None
            eventually(lambda: not self.answers(), what=f"{self._name} is gone")

    def end(self) -> None:
        if self._process is not None:
            self._process.end()


_NGINX = """
    server {{
        listen 127.0.0.1:{port};
        location = /health {{ return 200 "well\\n"; }}
{statuses}
        location / {{ return 200 "nginx\\n"; }}
    }}
"""
_APACHE = """
ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile apache.pid
ErrorLog /dev/stderr
DocumentRoot "{folder}/htdocs"
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
Redirect 204 /nothing
Redirect 500 /broken
Redirect 301 /moved /health
"""
_STATUSES = (200, 201, 204, 300, 304, 399, 400, 404, 500, 503)


@pytest.fixture
def nginx() -> Iterator[Server]:
    """nginx, running: /health returns 200, /status/CODE returns CODE."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        statuses = "\n".join(f"        location = /status/{code} {{ return {code}; }}" for code in _STATUSES)
        (Path(folder) / "nginx.conf").write_text(configure_nginx(_NGINX.format(port=port, statuses=statuses)))
        arguments = ["-p", folder, "-c", "nginx.conf", "-e", "stderr"]
        with ended(Server(Path(folder), "nginx", arguments, port)) as server:
            server.start()
            yield server


@pytest.fixture
def apache() -> Iterator[Server]:
    """Apache, running: /health returns 200, /nothing 204, /broken 500, /moved redirects to /health."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        documents = Path(folder) / "htdocs"
        documents.mkdir()
        (documents / "health").write_text("well\n")
        (documents / "index.html").write_text("apache\n")
        configuration = Path(folder) / "apache.conf"
        configuration.write_text(_APACHE.format(folder=folder, port=port, modules="/usr/lib/apache2/modules"))
        arguments = ["-f", str(configuration), "-D", "FOREGROUND"]
        with ended(Server(Path(folder), "apache2", arguments, port)) as server:
            server.start()
            yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with a certificate for 127.0.0.1, its key, and the authority's certificate."""
    issue(authority, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


@pytest.fixture(scope="session")
def kubelet_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/kubelet, compiled: a client set up as the kubelet's prober, and a server."""
    folder = tmp_path_factory.mktemp("kubelet")
    shutil.copy(Path(__file__).parent / "kubelet" / "main.go", folder)
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "", "GOWORK": "off"}
    # A module states the version of Go: without one, TLS and HTTP have the defaults of an old version.
    for arguments in (["mod", "init", "kubelet"], ["build", "-o", "prober", "."]):
        done = subprocess.run(
            [command("go"), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr
    return folder / "prober"


@pytest.fixture
def hostile_environment(monkeypatch, tmp_path):
    """Variables and files that change where an HTTP client connects and what it sends."""
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "missing.pem"))
