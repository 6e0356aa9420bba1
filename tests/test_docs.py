"""The documentation describes what the code does, and its commands work."""

import os
import re
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from textwrap import indent

import commands
import pytest
import trustme
import yaml
from docs.pages import PAGES
from docs.shell import Shell, body, steady
from support import command, eventually, free_port, get

from exporter import __version__, exitcodes
from exporter.config.checks import load
from exporter.config.web import WebConfig
from exporter.kinds import kinds
from exporter.model import Reason
from exporter.server.routes import PROBE_PATHS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (DOCS / "configure.md").read_text(encoding="utf-8")
GENERATED = {"kinds.md", "configuration.md", "metrics.md"}  # and json.md and limits.md, which have tests of their own
WRITTEN = [page for page in PAGES if page.removeprefix("docs/") not in GENERATED]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reference pages as the code generates them now."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "reference.py").write_text((DOCS / "reference.py").read_text())
    subprocess.run([sys.executable, folder / "reference.py"], check=True, capture_output=True, cwd=ROOT)
    return {path.name: path.read_text() for path in folder.glob("*.md")}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def block(page: str, language: str, text: str) -> str:
    """The one code block in which this text is."""
    (found,) = (code for code in blocks(page, language) if text in code)
    return found


# The reference


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_reference_is_in_step_with_the_code(pages, name):
    assert (DOCS / name).read_text() == pages[name], "run `make docs`"


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_examples_that_load(kind, tmp_path):
    examples = kinds()[kind].examples
    assert examples, f"{kind} has no example"
    for number, example in enumerate(examples):
        config = tmp_path / f"{number}.yml"
        config.write_text(f"checks:\n{indent(example, '  ')}\n")
        (check,) = load(config).checks
        assert check.spec.kind == kind


@pytest.mark.parametrize("page", WRITTEN)
def test_only_the_reference_has_a_table_of_kinds(page):
    """Besides what was measured: `make bench ARGS=growth` writes those tables."""
    written = re.sub(r"<!-- measured: .*?<!-- end -->", "", (ROOT / page).read_text(), flags=re.DOTALL)
    rows = re.findall(r"^\| `?(\w+)`? \|", written, re.MULTILINE)

    assert len({*rows} & kinds().keys() - {*Reason}) < 2  # `dns` is a reason too, and `file` heads a column


@pytest.mark.parametrize("page", [page for page in WRITTEN if page not in ("CHANGELOG.md", "docs/library.md")])
def test_every_metric_that_a_page_names_exists(pages, page):
    named = set(re.findall(r"`(health_[a-z0-9_]+)`", (ROOT / page).read_text()))

    assert named - set(re.findall(r"`(health_[a-z0-9_]+)`", pages["metrics.md"])) == set()


def test_promtool_finds_nothing_to_say_of_any_family():
    """Of all kinds with all their measurements: names, units, help texts."""
    script = (
        f"import sys; sys.path.insert(0, {str(DOCS)!r}); import reference; sys.stdout.buffer.write(reference.exposed())"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=ROOT).stdout
    done = subprocess.run([command("promtool"), "check", "metrics"], input=shown, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# The README


def test_the_demo_prints_what_the_readme_shows(tmp_path):
    """The commands are the README's. Only the ports differ, and instead of a `sleep` the test waits for the event."""
    web, port = free_port(), free_port()
    replaced = {
        "8080": str(web),
        "http://127.0.0.1:4584": f"http://127.0.0.1:{port}",
        ". .venv/bin/activate\n": "",
        "exporter serve ": f"exporter serve --web.listen-address 127.0.0.1:{port} ",
        "exporter ask livez": f"exporter ask livez --timeout 30 --url http://127.0.0.1:{port}",
    }
    setup, demo = block(README, "sh", "cat > health.yml"), block(README, "console", "$ kill $web")
    for old, new in replaced.items():
        assert old in setup + demo
        setup, demo = setup.replace(old, new), demo.replace(old, new)
    before, started, rest = setup.partition("health-exporter serve")
    readiness = "1.0"
    with closing(Shell(tmp_path)) as terminal:
        terminal.run(before)
        eventually(lambda: body(f"http://127.0.0.1:{web}/"), within=60)
        assert terminal.run(started + rest) == ""
        for step in re.split(r"^\$ ", demo, flags=re.MULTILINE)[1:]:
            line, _, expected = step.partition("\n")
            first, slept, then = re.fullmatch(r"(.*?)(sleep \d+; )?(get /livez|)", line).groups()
            printed = terminal.run(first)
            if slept:
                wanted = f'health_group_up{{group="readiness"}} {readiness}\n'
                eventually(lambda: wanted in (body(f"http://127.0.0.1:{port}/metrics") or ""), within=60)  # noqa: B023
                readiness = "0.0"
            assert steady(printed + terminal.run(then)) == steady(expected)


def test_the_readme_builds_the_image_that_the_manifests_name():
    assert set(re.findall(r"health-exporter:(\d\S*)", README)) == {__version__}


@pytest.mark.parametrize("page", WRITTEN)
def test_the_commands_of_a_page_name_what_exists(page):
    text = (ROOT / page).read_text()
    made = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [*re.findall(r"pip install (?:-e )?'\.\[(.*?)\]'", text), *re.findall(r"EXTRAS=([\w,]+)", text)]

    assert [
        target for target in re.findall(r"^make ([\w-]+)", "\n".join(blocks(text, "sh"))) if target not in made
    ] == []
    assert [extra for names in named for extra in names.split(",") if extra not in extras] == []
    assert [path for path in re.findall(r"kubectl apply -k (\S+)", text) if not (ROOT / path).is_dir()] == []


# The configuration, and the probes


def test_the_guide_s_configuration_loads(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text(block(GUIDE, "yaml", "# health.yml"))

    assert [check.spec.name for check in load(config).checks] == ["api", "database", "warm", "load"]


def test_the_guide_s_commands_take_their_options(tmp_path):
    (tmp_path / "health.yml").write_text(block(GUIDE, "yaml", "# health.yml"))
    ran = {}
    for line in block(GUIDE, "sh", "health-exporter validate").splitlines():
        program, name, *options = line.split()
        assert program == "health-exporter"
        if name == "serve":
            served = [sys.executable, "-m", "exporter", name, *options, "--web.listen-address", "256.0.0.1:0"]
        else:
            ran[name] = commands.run(name, *options, cwd=tmp_path).returncode
    done = subprocess.run(
        served, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )

    assert (ran["validate"], ran["check"]) == (0, 1)
    assert "256.0.0.1" in done.stderr  # or it would run on


def test_the_guide_s_probes_are_those_of_the_manifests():
    page = (ROOT / "k8s/README.md").read_text()
    (documented,) = (yaml.safe_load(code) for code in blocks(page, "yaml") if "livenessProbe" in code)
    template = yaml.safe_load((ROOT / "k8s/components/sidecar/template/pod.yaml").read_text())["template"]
    container = template["spec"]["containers"][0]
    for name in documented:
        assert container[name]["httpGet"].pop("scheme") == "HTTP"  # the default
    default = {"failureThreshold": 3}

    assert {name: {**default, **probe} for name, probe in documented.items()} == {
        name: probe for name, probe in container.items() if name != "name"
    }


AUTHENTICATION = (DOCS / "authentication.md").read_text(encoding="utf-8")


@pytest.fixture
def certified(tmp_path):
    """A folder with the certificate that the page's command creates, and authorities for clients."""
    (code,) = (code for code in blocks(AUTHENTICATION, "sh") if "openssl req" in code)
    subprocess.run(["sh", "-ec", code], cwd=tmp_path, check=True, capture_output=True)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path


@pytest.mark.parametrize(("first", "users"), [("# web.yml\n", ["prometheus"]), ("# web.yml with", [])])
def test_the_page_s_web_configurations_load_with_its_certificate(certified, first, users):
    (certified / "web.yml").write_text(block(AUTHENTICATION, "yaml", first))
    loaded = WebConfig.read(certified / "web.yml")

    assert loaded.tls_server_config is not None
    assert list(loaded.basic_auth_users) == users


def test_prometheus_takes_the_page_s_configuration(certified):
    (certified / "health-exporter.password").write_text("secret")
    (certified / "prometheus.yml").write_text(block(AUTHENTICATION, "yaml", "# prometheus.yml"))
    arguments = [command("promtool"), "check", "config", str(certified / "prometheus.yml")]

    assert subprocess.run(arguments, capture_output=True).returncode == 0


def test_the_page_s_commands_work(certified, start):
    """`serve` with the web configuration, the command that hashes a password, and `ask`."""
    (code,) = (code for code in blocks(AUTHENTICATION, "sh") if "htpasswd" in code)
    (program,) = re.findall(r"\.venv/bin/python -c '(.*)'", code)
    program = program.replace("getpass.getpass()", "'secret'").replace("import bcrypt, getpass", "import bcrypt")
    hashed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    (certified / "health-exporter.password").write_text("secret\n")
    web = block(AUTHENTICATION, "yaml", "# web.yml\n")
    (certified / "web.yml").write_text(re.sub(r"\$2b\S+", lambda _: hashed.strip(), web))
    exporter = start(
        "checks: [{name: a, exec: {command: ['true']}}]\n",
        *("--web.config.file", str(certified / "web.yml")),
        *("--probe.listen-address", "127.0.0.1:0"),
    )
    probes = exporter.line(r"address=(http://\S+)/").group(1)
    port = exporter.line(r"address=https://\S+:(\d+)/").group(1)
    eventually(lambda: get(f"{probes}/readyz").status == 200)
    (code,) = (code for code in blocks(AUTHENTICATION, "sh") if code.startswith("health-exporter ask"))
    asked = subprocess.run(
        ["sh", "-ec", code.replace("4585", port).replace("health-exporter ask", f"{sys.executable} -m exporter ask")],
        cwd=certified,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HEALTH_EXPORTER_ASK_TIMEOUT": "60"},
        capture_output=True,
        text=True,
    )

    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("readyz: pass")


def test_the_page_lists_the_paths_of_the_listener_for_probes():
    (row,) = re.findall(r"^\| `--probe.listen-address` \|(.*)\|.*\|$", AUTHENTICATION, re.MULTILINE)

    assert re.findall(r"`(\S+)`", row) == [*PROBE_PATHS, "/-/healthy", "/-/ready"]


def test_the_guide_lists_every_reason():
    assert re.findall(r"^\| `(\w+)` \|", (DOCS / "reasons.md").read_text(), re.MULTILINE) == list(Reason)


def test_the_guide_lists_the_exit_codes_of_every_command():
    page = (DOCS / "commands.md").read_text()
    rows = re.findall(r"^\| `health-exporter (\w+)[^`]*` \|.*\|([^|]*)\|$", page, re.MULTILINE)
    listed = commands.run("--help").stdout

    assert [name for name, _ in rows] == re.findall(r"^  (\w+)  ", listed.partition("Commands:\n")[2], re.MULTILINE)
    for name, codes in rows:
        text = commands.run(name, "--help").stdout
        documented = re.findall(r"^    (?=\d.{3}\S)(\d+) +", text, re.MULTILINE) or ["0"]
        assert re.findall(r"\b(\d+) ?(?=[a-z]|$)", codes.strip()) == documented, name


def test_the_readme_lists_every_command():
    listed = commands.run("--help").stdout.partition("Commands:\n")[2]

    assert re.findall(r"^\| `health-exporter (\w+)[^`]*` \|", README, re.MULTILINE) == re.findall(
        r"^  (\w+)  ", listed, re.MULTILINE
    )


def test_the_guide_explains_every_exit_code():
    codes = {value for name, value in vars(exitcodes).items() if name.isupper()}

    assert {*map(int, re.findall(r"^\| (\d+) \|", (DOCS / "commands.md").read_text(), re.MULTILINE))} == codes


# Links


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", (ROOT / page).read_text()):
        linked = (ROOT / page).parent / target if target else ROOT / page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def test_the_index_lists_every_page():
    index = DOCS / "README.md"
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#:]+)", index.read_text())}
    pages = {path for path in DOCS.rglob("*.md") if path != index and not path.name[0].isdigit()}

    assert pages - linked == set()  # the index of the decisions lists the decisions
