"""The proxy does to connections what it is told to do, and nothing else."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.proxy import Faults, Proxy

Make = Callable[..., Proxy]


class Echo:
    """A server that sends back what it gets, and ends a connection when its client has."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=(self._listener.accept()[0],), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def make() -> Iterator[Make]:
    echo, made = Echo(), contextlib.ExitStack()
    with made:
        yield lambda **more: made.enter_context(Proxy(echo.address, **more))
    echo.close()


def told(proxy: Proxy, data: bytes) -> bytes:
    """What comes back of it before the connection ends, one way or the other."""
    found = b""
    with contextlib.suppress(ConnectionError), socket.create_connection(proxy.address, timeout=30) as client:
        sender = threading.Thread(target=_send, args=(client, data), daemon=True)
        sender.start()
        while piece := client.recv(1 << 16):
            found += piece
    return found


def _send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


DATA = random.Random(0).randbytes(300_000)


def test_without_faults_every_byte_and_the_end_pass(make: Make) -> None:
    proxy = make()
    assert told(proxy, DATA) == DATA
    assert told(proxy, b"") == b""
    assert proxy.accepted == 2


def test_a_connection_is_cut_after_bytes_that_the_seed_chooses(make: Make) -> None:
    def cut(seed: int) -> list[int]:
        proxy = make(seed=seed)
        proxy.faults = Faults(cut_within=200_000)
        found = [told(proxy, DATA) for _ in range(3)]
        assert all(DATA.startswith(part) for part in found)
        return [len(part) for part in found]

    assert all(n < 200_000 for n in cut(1))
    proxy = make()
    with socket.create_connection(proxy.address, timeout=30) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_refused_connection_is_reset_until_the_faults_are_others(make: Make) -> None:
    proxy = make()
    proxy.faults = Faults(refuse=True)
    assert told(proxy, b"hello") == b""
    proxy.faults = Faults()
    assert told(proxy, b"hello") == b"hello"


def test_a_target_that_is_not_there_is_a_reset(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with Proxy(address) as proxy:
        assert told(proxy, b"hello") == b""


def test_a_stalled_connection_passes_nothing_and_then_all(make: Make) -> None:
    proxy = make()
    with socket.create_connection(proxy.address) as client:
        client.sendall(b"one")
        assert client.recv(3) == b"one"
        proxy.faults = Faults(stall=True)
        client.sendall(b"two")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(3)
        proxy.faults = Faults()
        client.settimeout(30)
        assert client.recv(3) == b"two"


def test_one_direction_may_end_while_the_other_goes_on(make: Make) -> None:
    ends = set()
    proxy = make()
    proxy.faults = Faults(half_close_within=1)  # at once
    for _ in range(12):
        with socket.create_connection(proxy.address, timeout=30) as client:
            client.sendall(b"hello")
            ends.add(client.recv(5))  # the server saw an end, or we do
            client.sendall(b"more")  # and nobody minds
    assert ends == {b""}


def test_pieces_come_late_and_no_faster_than_allowed(make: Make) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    proxy = make(sleep=sleep)
    proxy.faults = Faults(bytes_per_s=1000.0)
    assert told(proxy, DATA) == DATA
    assert sum(slept) == pytest.approx(2 * len(DATA) / 1000)
    slept.clear()
    proxy.faults = Faults(delay_s=3.0)
    assert told(proxy, DATA) == DATA
    assert len(slept) >= 2
    assert min(slept) >= 0.0
    assert max(slept) <= 3.0
