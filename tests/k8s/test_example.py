"""The application in k8s/example behaves as its docstring describes."""

import signal
import sys
from collections.abc import Iterator

import pytest
from k8s.kustomized import K8S
from support import Process, ended, eventually, free_port, get


@pytest.fixture
def shop() -> Iterator[tuple[Process, str]]:
    port = free_port()
    env = {"PORT": str(port), "DRAIN_SECONDS": "1"}
    url = f"http://127.0.0.1:{port}"
    with ended(Process([sys.executable, str(K8S / "example" / "shop.py")], env)) as process:
        eventually(lambda: responds(url), what="a response")
        yield process, url


def responds(url: str) -> bool:
    try:
        return get(f"{url}/health").status == 200
    except OSError:
        return False


def test_break_makes_health_return_500(shop: tuple[Process, str]) -> None:
    _, url = shop
    assert get(f"{url}/break", method="POST").status == 200
    assert get(f"{url}/health").status == 500
    assert get(f"{url}/").status == 200


def test_hang_delays_the_response_of_health(shop: tuple[Process, str]) -> None:
    _, url = shop
    get(f"{url}/hang", method="POST")
    with pytest.raises(TimeoutError):
        get(f"{url}/health", timeout=0.5)


def test_exit_ends_the_process_with_code_1(shop: tuple[Process, str]) -> None:
    process, url = shop
    get(f"{url}/exit", method="POST")
    assert process.wait() == 1


def test_it_keeps_serving_after_sigterm_and_then_exits_with_code_0(shop: tuple[Process, str]) -> None:
    process, url = shop
    process.signal(signal.SIGTERM)
    assert get(f"{url}/health").status == 200
    assert process.wait() == 0
