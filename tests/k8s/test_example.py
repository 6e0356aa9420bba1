"""The application of k8s/example does what its first lines say."""

import signal
import sys
from collections.abc import Iterator

import pytest
from kustomized import K8S
from support import Process, ended, eventually, free_port, get


@pytest.fixture
def shop() -> Iterator[tuple[Process, str]]:
    port = free_port()
    env = {"PORT": str(port), "DRAIN_SECONDS": "1"}
    url = f"http://127.0.0.1:{port}"
    with ended(Process([sys.executable, str(K8S / "example" / "shop.py")], env)) as process:
        eventually(lambda: _answers(url), what="it answers")
        yield process, url


def _answers(url: str) -> bool:
    try:
        return get(f"{url}/health").status == 200
    except OSError:
        return False


def test_it_breaks_when_asked_to(shop: tuple[Process, str]) -> None:
    _, url = shop
    assert get(f"{url}/break", method="POST").status == 200
    assert get(f"{url}/health").status == 500
    assert get(f"{url}/").status == 200


def test_it_hangs_when_asked_to(shop: tuple[Process, str]) -> None:
    _, url = shop
    get(f"{url}/hang", method="POST")
    with pytest.raises(TimeoutError):
        get(f"{url}/health", timeout=0.5)


def test_it_exits_when_asked_to(shop: tuple[Process, str]) -> None:
    process, url = shop
    get(f"{url}/exit", method="POST")
    assert process.wait() == 1


def test_it_serves_on_after_sigterm_and_then_ends(shop: tuple[Process, str]) -> None:
    process, url = shop
    process.signal(signal.SIGTERM)
    assert get(f"{url}/health").status == 200
    assert process.wait() == 0
