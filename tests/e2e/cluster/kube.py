"""Access to a cluster with kubectl only: `kubectl proxy` for the API and pods, `kubectl apply` for manifests."""

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
    """The API server, through a `kubectl proxy` on loopback, which has the credentials of KUBECONFIG."""

    def __init__(self) -> None:
        super().__init__([command("kubectl"), "proxy", "--port=0"])
        self.url = "http://" + self.line(r"Starting to serve on (\S+)").group(1)

    def read(self, path: str) -> dict[str, Any]:
        """Read an object or a list."""
        response = get(self.url + path, timeout=30)
        assert response.status == 200, f"{path}: {response.text}"
        found: dict[str, Any] = json.loads(response.body)
        return found

    def version(self) -> tuple[int, int]:
        version = self.read("/version")
        return int(version["major"]), int(version["minor"].rstrip("+"))


def kubectl(*arguments: str, stdin: str | None = None, within: float = 60) -> str:
    """The output of kubectl. If kubectl fails, the test fails with its error."""
    result = subprocess.run(
        [command("kubectl"), *arguments], input=stdin, capture_output=True, text=True, timeout=within, check=False
    )
    if result.returncode:
        pytest.fail(f"kubectl {' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


@dataclass(frozen=True)
class Change:
    """A change of an object, as the API server reported it, and when."""

    at: float
    type: str
    object: dict[str, Any]


class Watch:
    """All changes of a namespace's pods, endpoints and events, in order."""

    KINDS = (
        "api/v1/namespaces/{}/pods",
        "api/v1/namespaces/{}/events",
        "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    )

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._changes: list[Change] = []
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
                    event = json.loads(line)
                    if event["type"] == "ERROR":  # the version is too old: start again with the current objects
                        version = ""
                        break
                    self._add(Change(time.time(), event["type"], event["object"]))
                    version = f"&resourceVersion={event['object']['metadata']['resourceVersion']}"
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)  # the API server closes watches now and then; continue from the last version
            finally:
                connection.close()

    def _add(self, change: Change) -> None:
        with self._news:
            if not self._ended:
                self._changes.append(change)
                self._news.notify_all()

    def end(self) -> None:
        """Ignore all further changes, such as the deletion of the namespace."""
        with self._news:
            self._ended = True

    def all(self, kind: str) -> list[Change]:
        """The changes of this kind until now: Pod, Event, EndpointSlice."""
        with self._news:
            return [change for change in self._changes if change.object["kind"] == kind]

    def until(self, condition: Callable[["Watch"], Any], within: float, what: str) -> Any:
        """Wait for a condition on the changes, and return its first true value."""
        end = time.monotonic() + within
        with self._news:  # reentrant: a Condition's lock is an RLock
            while not (value := condition(self)):
                remaining = end - time.monotonic()
                if remaining <= 0:
                    pytest.fail(f"not within {within} s: {what}\n{self.story()}")
                self._news.wait(min(remaining, 1))
            return value

    def story(self) -> str:
        """All changes as text, for the message of a failure."""
        return "\n".join(_describe(change) for change in self._changes)

    # Queries.

    def pods(self) -> dict[str, dict[str, Any]]:
        """The latest state of the pods that exist."""
        return {name: change.object for name, change in self._last("Pod").items() if change.type != "DELETED"}

    def _last(self, kind: str) -> dict[str, Change]:
        return {change.object["metadata"]["name"]: change for change in self.all(kind)}

    def endpoints(self) -> frozenset[str]:
        """The names of the pods that receive traffic now."""
        return serving(self._last("EndpointSlice").values())

    def endpoints_over_time(self) -> Iterator[tuple[float, frozenset[str]]]:
        """Each change of the pods that receive traffic."""
        slices: dict[str, Change] = {}
        before: frozenset[str] | None = None
        for change in self.all("EndpointSlice"):
            slices[change.object["metadata"]["name"]] = change
            if (now := serving(slices.values())) != before:
                yield change.at, now
                before = now

    def first(self, kind: str, condition: Callable[[dict[str, Any]], Any], after: float = 0) -> Change | None:
        """The first change after a moment that meets the condition."""
        return next((change for change in self.all(kind) if change.at > after and condition(change.object)), None)

    def messages(self, reason: str) -> list[tuple[str, str]]:
        """The events with a reason: the container and the message."""
        events = {change.object["metadata"]["name"]: change.object for change in self.all("Event")}
        return [
            (event["involvedObject"].get("fieldPath", "").removeprefix("spec.containers").strip("{}"), event["message"])
            for event in events.values()
            if event["reason"] == reason
        ]


def serving(slices: Any) -> frozenset[str]:
    """The names of the pods that are ready in the endpoint slices."""
    return frozenset(
        endpoint["targetRef"]["name"]
        for change in slices
        if change.type != "DELETED"
        for endpoint in change.object.get("endpoints") or []
        if endpoint["conditions"].get("ready") and "targetRef" in endpoint
    )


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def statuses(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statuses of a pod's containers and native sidecars by name."""
    status = pod["status"]
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {container["name"]: container for container in found}


def restarts(pod: dict[str, Any]) -> dict[str, int]:
    return {name: status["restartCount"] for name, status in statuses(pod).items()}


def _describe(change: Change) -> str:
    object_, name = change.object, change.object["metadata"]["name"]
    time_of_day = time.strftime("%H:%M:%S", time.gmtime(change.at))
    text = {
        "Pod": lambda: f"{object_['status'].get('phase')} ready={is_ready(object_)} restarts={restarts(object_)}",
        "Event": lambda: f"{object_['reason']}: {object_['message']}",
        "EndpointSlice": lambda: f"ready: {', '.join(sorted(serving([change]))) or 'none'}",
    }[object_["kind"]]()
    return f"{time_of_day} {change.type} {object_['kind']} {name} {text}"


def samples(response: Answer) -> dict[str, float]:
    """The samples of a metrics page by name and labels, as written there."""
    assert response.status == 200, response.text
    lines = (line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
