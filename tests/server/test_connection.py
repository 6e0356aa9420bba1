"""One connection: how much it takes from its client, and how much it gives it at a time."""

import pytest
from support import Clock

from exporter.server.connection import CLIENT_TIMEOUT, MAX_HEAD, MAX_LINES, MAX_PARTS, PART, Connection, Phase
from exporter.server.messages import Response

END = b"\r\n\r\n"


class Client:
    """A socket whose client sends these pieces, and takes at most so many bytes at a time."""

    def __init__(self, *pieces: bytes, size: int = 0) -> None:
        self.pieces = list(pieces)
        self.size = size
        self.taken: list[int] = []

    def fileno(self) -> int:
        return 99

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if piece[size:]:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: memoryview) -> int:
        self.taken.append(min(len(data), self.size))
        return self.taken[-1]

    def shutdown(self, how: int) -> None:
        pass


class Owner:
    """A listener that records what becomes of a request, and an event loop that only has the time."""

    def __init__(self) -> None:
        self.loop = self
        self.time = Clock()
        self.results: list[object] = []

    def date(self) -> str:
        return "now"

    def is_urgent(self, data: bytes) -> bool:
        return True

    def receive(self, connection: Connection, request: object) -> None:
        self.results.append("request")

    def reject(self, connection: Connection, status: int) -> None:
        self.results.append(status)

    def hold(self, connection: Connection, body: bytes) -> None:
        pass

    def release(self, body: bytes) -> None:
        pass

    def add_reader(self, descriptor: int, function: object) -> None:
        pass

    remove_reader = add_writer = remove_writer = add_reader


def receive(*pieces: bytes) -> list[object]:
    """What becomes of the request that these pieces are the beginning of."""
    owner, client = Owner(), Client(*pieces)
    connection = Connection(owner, client, "127.0.0.1")
    while client.pieces and connection.phase is Phase.READING:
        connection.step()
    return owner.results


def respond(client: Client, size: int) -> Connection:
    connection = Connection(Owner(), client, "127.0.0.1")
    connection.phase = Phase.WAITING
    connection.respond(Response(200, [], b"x" * size))
    return connection


def test_a_client_that_takes_everything_gets_a_limited_number_of_parts_at_a_time():
    client = Client(size=PART)
    connection = respond(client, (MAX_PARTS + 5) * PART)
    assert len(client.taken) == MAX_PARTS
    assert connection.phase is Phase.WRITING

    connection.step()
    assert sum(client.taken) > (MAX_PARTS + 5) * PART
    assert connection.phase is Phase.LINGERING


def test_a_client_has_the_whole_time_again_for_each_part():
    """Not for less: one that takes a byte now and then does not keep its connection."""
    client = Client(size=PART // (2 * MAX_PARTS))
    connection = respond(client, 2 * PART)
    begun = connection.now()

    connection._listener.time.advance(1)
    connection.step()
    assert 0 < sum(client.taken) < PART
    assert connection.deadline == begun + CLIENT_TIMEOUT
    connection.step()
    assert sum(client.taken) > PART
    assert connection.deadline == begun + 1 + CLIENT_TIMEOUT


@pytest.mark.parametrize("cut", [0, 1000, MAX_HEAD - 1], ids=["in one piece", "in two", "in a long and a short one"])
@pytest.mark.parametrize(
    ("size", "end", "results"),
    [
        (MAX_HEAD, END, ["request"]),
        (MAX_HEAD, END + b"body" * 5000, ["request"]),
        (MAX_HEAD - 1, b"", []),
        (MAX_HEAD, b"", [431]),
        (MAX_HEAD + 1, END, [431]),
        (MAX_HEAD + 1, END + b"body" * 5000, [431]),
        (3 * MAX_HEAD, END, [431]),
    ],
    ids=["longest", "longest and a body", "in progress", "without an end", "too long", "too long and a body", "huge"],
)
def test_a_head_has_a_maximum_size(size, end, results, cut):
    """However it arrives. Up to the maximum, its end is waited for."""
    start = b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\nX-Y: "
    data = start.ljust(size - len(end[: len(END)]), b"z") + end

    assert receive(*filter(None, (data[:cut], data[cut:]))) == results


@pytest.mark.parametrize(("lines", "results"), [(MAX_LINES, ["request"]), (MAX_LINES + 1, [431])])
def test_a_head_has_a_maximum_number_of_lines(lines, results):
    """The request line and the empty line count."""
    assert receive(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * (lines - 3) + b"\r\n") == results
