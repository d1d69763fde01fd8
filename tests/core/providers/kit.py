"""What the tests of the local provider share: waiting without sleeping, and specs in few words."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_core.model import Requirements
from idds_core.ports import Command, Function, JobReport, JobSpec, Provider

BUNDLE = str(Path(__file__).parent / "bundle")
PATIENCE = 30.0


class Whistle:
    """A named pipe into which a job writes a line when it has got somewhere."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""

    def heard(self) -> str:
        """The next line."""
        while b"\n" not in self._rest:
            assert select.select([self._fd], [], [], PATIENCE)[0], "nothing was heard"
            self._rest += os.read(self._fd, 65536)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._fd)


def gone(pid: int) -> bool:
    """Whether the process ends in time (or has ended)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], PATIENCE)[0])
    finally:
        os.close(fd)


class News:
    """The `wake` of a provider, to wait on."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        self._event.set()

    def ends(self, provider: Provider, keys: Sequence[str]) -> dict[str, JobReport]:
        """Reports of the jobs, once all of them have ended."""
        while True:
            self._event.clear()
            reports = provider.poll(keys)
            if all(key in reports and reports[key].state.ended for key in keys):
                return dict(reports)
            assert self._event.wait(PATIENCE), f"no end: { {k: str(r.state) for k, r in reports.items()} }"

    def end(self, provider: Provider, spec: JobSpec) -> JobReport:
        """Submit one job and wait for its end."""
        provider.submit([spec])
        return self.ends(provider, [spec.key])[spec.key]


class Specs:
    """Makes specs with folders under a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0

    def _spec(self, payload: Command | Function, key: str, requires: Requirements | None, **more: Any) -> JobSpec:
        self._count += 1
        key = key or f"store1-{self._count}"
        folder = str(self.root / "attempts" / key)
        return JobSpec(key, folder, payload, requires or Requirements(), 7, "digest-" + key, {"m": 5.5}, **more)

    def function(
        self,
        reference: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        ctx: bool = False,
        bundle: str = BUNDLE,
        key: str = "",
        requires: Requirements | None = None,
        **more: Any,
    ) -> JobSpec:
        name = reference if ":" in reference else f"toys:{reference}"
        return self._spec(Function(name, bundle, arguments or {}, ctx), key, requires, **more)

    def command(
        self,
        *argv: str,
        outputs: Mapping[str, str] | None = None,
        result: str | None = None,
        env: Mapping[str, str] | None = None,
        key: str = "",
        requires: Requirements | None = None,
        **more: Any,
    ) -> JobSpec:
        return self._spec(Command(argv, outputs or {}, result, env or {}), key, requires, **more)

    def shell(self, script: str, **more: Any) -> JobSpec:
        return self.command("sh", "-c", script, **more)
