"""A cluster through kubectl alone: `kubectl proxy` for the API and the pods' ports, `kubectl apply` for manifests."""

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import Answer, Process, command, get


class Cluster(Process):
    """The API server, by way of a `kubectl proxy` on loopback, which knows the credentials of KUBECONFIG."""

    def __init__(self) -> None:
        super().__init__([command("kubectl"), "proxy", "--port=0"])
        self.url = "http://" + self.line(r"Starting to serve on (\S+)").group(1)

    def read(self, path: str) -> dict[str, Any]:
        """An object or a list."""
        answer = get(self.url + path, timeout=30)
        assert answer.status == 200, f"{path}: {answer.text}"
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def version(self) -> tuple[int, int]:
        said = self.read("/version")
        return int(said["major"]), int(said["minor"].rstrip("+"))


def kubectl(*arguments: str, stdin: str | None = None, within: float = 60) -> str:
    """What kubectl says; the test fails with its complaint."""
    done = subprocess.run(
        [command("kubectl"), *arguments], input=stdin, capture_output=True, text=True, timeout=within, check=False
    )
    if done.returncode:
        pytest.fail(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Seen:
    """An object as the API server told of it, and when."""

    at: float
    change: str
    object: dict[str, Any]


class Watch:
    """Everything that happens to a namespace's pods, endpoints and events, in the order in which it happened."""

    KINDS = (
        "api/v1/namespaces/{}/pods",
        "api/v1/namespaces/{}/events",
        "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    )

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._seen: list[Seen] = []
        self._news = threading.Condition()
        self._ended = False
        host = cluster.url.removeprefix("http://")
        for kind in self.KINDS:
            path = f"/{kind.format(namespace)}?watch=true"
            threading.Thread(target=self._follow, args=(host, path), daemon=True).start()

    def _follow(self, host: str, path: str) -> None:
        version = ""
        while not self._ended:
            connection = http.client.HTTPConnection(host, timeout=600)
            try:
                connection.request("GET", path + version)
                for line in connection.getresponse():
                    told = json.loads(line)
                    if told["type"] == "ERROR":  # too old to go on from: one begins with what there is
                        version = ""
                        break
                    self._add(Seen(time.time(), told["type"], told["object"]))
                    version = f"&resourceVersion={told['object']['metadata']['resourceVersion']}"
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)  # the API server ends watches now and then; one goes on where it stopped
            finally:
                connection.close()

    def _add(self, seen: Seen) -> None:
        with self._news:
            if not self._ended:
                self._seen.append(seen)
                self._news.notify_all()

    def end(self) -> None:
        """Tell of nothing that comes after this, as of the namespace's end."""
        with self._news:
            self._ended = True

    def all(self, kind: str) -> list[Seen]:
        """What was told of this kind so far: Pod, Event, EndpointSlice."""
        with self._news:
            return [each for each in self._seen if each.object["kind"] == kind]

    def until(self, condition: Callable[["Watch"], Any], within: float, what: str) -> Any:
        """Wait for a condition on what was told, and return its first true value."""
        end = time.monotonic() + within
        with self._news:  # reentrant: a Condition's lock is an RLock
            while not (value := condition(self)):
                remaining = end - time.monotonic()
                if remaining <= 0:
                    pytest.fail(f"not within {within} s: {what}\n{self.story()}")
                self._news.wait(min(remaining, 1))
            return value

    def story(self) -> str:
        """What happened, for the reader of a failure."""
        return "\n".join(_told(each) for each in self._seen)

    # What one asks of it.

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods that there are, as last told of."""
        return {name: seen.object for name, seen in self._last("Pod").items() if seen.change != "DELETED"}

    def _last(self, kind: str) -> dict[str, Seen]:
        return {each.object["metadata"]["name"]: each for each in self.all(kind)}

    def endpoints(self) -> frozenset[str]:
        """The names of the pods that get traffic now."""
        return serving(self._last("EndpointSlice").values())

    def endpoints_over_time(self) -> Iterator[tuple[float, frozenset[str]]]:
        """Each change of the pods that get traffic."""
        slices: dict[str, Seen] = {}
        before: frozenset[str] | None = None
        for each in self.all("EndpointSlice"):
            slices[each.object["metadata"]["name"]] = each
            if (now := serving(slices.values())) != before:
                yield each.at, now
                before = now

    def first(self, kind: str, condition: Callable[[dict[str, Any]], Any], after: float = 0) -> Seen | None:
        """The first that was told of with this condition, after a moment."""
        return next((each for each in self.all(kind) if each.at > after and condition(each.object)), None)

    def messages(self, reason: str) -> list[tuple[str, str]]:
        """The events of a reason: the container that they name, and their text."""
        told = {each.object["metadata"]["name"]: each.object for each in self.all("Event")}
        return [
            (each["involvedObject"].get("fieldPath", "").removeprefix("spec.containers").strip("{}"), each["message"])
            for each in told.values()
            if each["reason"] == reason
        ]


def serving(slices: Any) -> frozenset[str]:
    """The names of the pods that the endpoint slices show as ready."""
    return frozenset(
        endpoint["targetRef"]["name"]
        for each in slices
        if each.change != "DELETED"
        for endpoint in each.object.get("endpoints") or []
        if endpoint["conditions"].get("ready") and "targetRef" in endpoint
    )


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def statuses(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statuses of a pod's containers and native sidecars by name."""
    status = pod["status"]
    every = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {each["name"]: each for each in every}


def restarts(pod: dict[str, Any]) -> dict[str, int]:
    return {name: each["restartCount"] for name, each in statuses(pod).items()}


def _told(seen: Seen) -> str:
    what, name = seen.object, seen.object["metadata"]["name"]
    time_of_day = time.strftime("%H:%M:%S", time.gmtime(seen.at))
    text = {
        "Pod": lambda: f"{what['status'].get('phase')} ready={is_ready(what)} restarts={restarts(what)}",
        "Event": lambda: f"{what['reason']}: {what['message']}",
        "EndpointSlice": lambda: f"ready: {', '.join(sorted(serving([seen]))) or 'none'}",
    }[what["kind"]]()
    return f"{time_of_day} {seen.change} {what['kind']} {name} {text}"


def samples(answer: Answer) -> dict[str, float]:
    """Every sample of an exposition by its name and labels, as they are written."""
    assert answer.status == 200, answer.text
    lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
