"""A TCP proxy for tests: it cuts, delays, stalls, throttles and half-closes connections as it is told while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Faults", "Proxy"]

_CHUNK = 1 << 14
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


@dataclass(frozen=True)
class Faults:
    """What goes wrong; nothing by default. All of it holds for each connection, also for those that are open.

    refuse : a connection is reset as soon as it is accepted.
    stall : nothing is passed on, in either direction, until the faults are others; nothing is lost.
    delay_s : seconds before each piece is passed on, each time between nothing and so much.
    bytes_per_s : how fast a direction may be.
    cut_within : a connection is reset after a random number of bytes up to this, counted over both directions.
    half_close_within : one direction, at random, ends after a random number of bytes up to this; the other goes on.
    """

    refuse: bool = False
    stall: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    cut_within: int = 0
    half_close_within: int = 0


class _Cut(Exception):
    """The connection is to be reset."""


class _Connection:
    """Both ends of what passes through, and how far it will come."""

    def __init__(self, proxy: Proxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy, self.ends = proxy, (near, far)
        self._chance = proxy.chance.random(), proxy.chance.random(), proxy.chance.randrange(2)
        self._passed = 0

    async def pump(self, reader: asyncio.StreamReader, direction: int) -> None:
        """Pass on what comes, until it ends or is ended."""
        writer, sent, closed = self.ends[1 - direction], 0, False
        while data := await reader.read(_CHUNK):
            faults = await self._proxy.let(len(data))
            kept = data[: self._room(faults.cut_within, self._passed, 0)]
            half = faults.half_close_within if direction == self._chance[2] else 0
            wanted = kept[: self._room(half, sent, 1)]
            if wanted and not closed:
                writer.write(wanted)
                await writer.drain()
            self._passed += len(kept)
            sent += len(wanted)
            if len(kept) < len(data):
                raise _Cut
            if len(wanted) < len(kept) and not closed:
                closed = True  # what comes from now on is lost, as with a host that has crashed
                writer.write_eof()
        if not closed:
            writer.write_eof()

    def _room(self, within: int, passed: int, chance: int) -> int | None:
        """How many bytes may still pass; None when there is no limit."""
        return max(0, int(self._chance[chance] * within) - passed) if within else None

    def reset(self) -> None:
        """End both ends as if the host had gone."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                sock: Any = end.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


class Proxy:
    """Listens, and passes on to a target, on a thread of its own.

    Parameters
    ----------
    target : (host, port) of the server behind it. listen : where it listens; port 0 is any that is free.
    seed : the same seed cuts the same connections, in the order in which they are opened, after the same bytes.
    sleep : how time passes; injected.

    Attributes
    ----------
    address : (host, port) at which it listens. accepted : number of connections so far.

    """

    def __init__(
        self,
        target: tuple[str, int],
        listen: tuple[str, int] = ("127.0.0.1", 0),
        seed: int = 0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.target, self.chance, self.accepted = target, random.Random(seed), 0
        self._sleep = sleep
        self._faults = Faults()
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, *listen))
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ from the test
    @property
    def faults(self) -> Faults:
        """What goes wrong now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        async def switch() -> None:
            self._faults = faults
            (self._flows.clear if faults.stall else self._flows.set)()

        self._call(switch())

    def cut(self) -> int:
        """Reset all connections that are open; returns how many."""

        async def cut() -> int:
            for connection in self._open:
                connection.reset()
            return len(self._open)

        return int(self._call(cut()))

    def close(self) -> None:
        """End everything."""

        async def close() -> None:
            self._server.close()
            for connection in self._open:
                connection.reset()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self._call(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    # ------------------------------------------------------------------ on the thread
    async def let(self, count: int) -> Faults:
        """Wait until so many bytes may pass; returns the faults that then hold."""
        await self._flows.wait()
        if self._faults.delay_s:
            await self._sleep(self.chance.uniform(0.0, self._faults.delay_s))
        if self._faults.bytes_per_s:
            await self._sleep(count / self._faults.bytes_per_s)
        await self._flows.wait()
        return self._faults

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._faults.refuse:
            _Connection(self, writer, writer).reset()
            return
        try:
            far_reader, far = await asyncio.open_connection(*self.target)
        except OSError:
            _Connection(self, writer, writer).reset()
            return
        connection = _Connection(self, writer, far)
        self._open.add(connection)
        try:
            await asyncio.gather(connection.pump(reader, 0), connection.pump(far_reader, 1))
        except (_Cut, OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._open.discard(connection)
            for end in connection.ends:
                end.close()
