"""``logs``: what attempts printed, also while they run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.cli.problems import InputError
from idds_agents.cli.text import clean, print_json, say
from idds_agents.cli.where import Target, looking, resolve
from idds_agents.workspace import Workspace
from idds_core.states import TERMINAL
from idds_core.store import Attempt, Store

__all__ = ["logs"]

_POLL_S = 0.2
_CHUNK = 1 << 16


def logs(path: str | None, workdir: Path | None, *, follow: bool, as_json: bool) -> int:
    """Print the log of an attempt; of a job its last one; of what is above, all failed ones with headers."""
    with looking(workdir, path) as (workspace, store):
        target = resolve(store, path)
        attempts = _allowed(workspace, store, target, _wanted(store, target))
        if as_json:
            if follow and attempts:
                for _ in _chunks(workspace, store, attempts[-1]):
                    pass  # one value is printed, at the end
                attempts = [*attempts[:-1], _again(store, attempts[-1])]
            print_json([{"path": a.path, "state": str(a.state), "log": _text(workspace, a)} for a in attempts])
            return 0
        headers = target.step is None
        if not attempts:
            raise InputError.of("E-LOG-001", _nothing(target), "", target.loop_path,
                                "Give the path of an attempt; 'ls' lists them.")  # fmt: skip
        if follow:
            _follow(workspace, store, attempts[-1])
            return 0
        for attempt in attempts:
            if headers:
                say(f"==> {attempt.path}/log: {attempt.failure_code or ''} {attempt.reason} <==")
            _print(_text(workspace, attempt))
    return 0


def _nothing(target: Target) -> str:
    return "no attempt of it has started yet" if target.step else "no attempt below it has failed"


def _wanted(store: Store, target: Target) -> list[Attempt]:
    if target.step is not None:
        jobs = target.jobs(store)
        found = target.attempts(store, jobs)
        if not found:  # a result that was taken over was made elsewhere
            found = store.jobs.attempts(store.outputs.makers([j.id for j in jobs]))
        return found[-1:] if target.attempt is None else found
    below = {j.id for j in target.jobs(store)}
    return [a for a in store.jobs.failed_attempts(target.home(store)) if a.job_id in below]


def _allowed(workspace: Workspace, store: Store, target: Target, attempts: list[Attempt]) -> list[Attempt]:
    """Attempts whose log may be seen: none of a step that sees sealed targets."""
    plan = Catalog(store, workspace.folder).plan(target.loop.id)
    if not plan.loop.blind or target.loop.unblinded is not None:
        return attempts
    last = plan.loop.body[-1].name
    allowed = [a for a in attempts if a.path.split("/")[-5] != last]  # <step>/job/<c>/a/<M>
    if attempts and not allowed:
        raise InputError.of("E-LOG-002", f"the logs of step {last} are sealed", f"it sees {', '.join(plan.loop.blind)}",
                            target.loop_path, "They can be read after 'unblind'.")  # fmt: skip
    return allowed


def _text(workspace: Workspace, attempt: Attempt) -> str:
    file = _file(workspace, attempt)
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file else ""
    except OSError:
        return ""


def _print(text: str) -> None:
    """As it is into files and pipes; without control characters on a terminal, where they could do harm."""
    sys.stdout.write(clean(text) if sys.stdout.isatty() else text)
    if text and not text.endswith("\n"):
        sys.stdout.write("\n")


def _file(workspace: Workspace, attempt: Attempt) -> Path | None:
    """Where the attempt's log is now: in its folder, or, for a function that runs, in its worker's scratch file."""
    own = workspace.folder / attempt.path / "log"
    if own.exists() or attempt.state in TERMINAL["attempt"]:
        return own if own.exists() else None
    for note in sorted((workspace.state_folder / "local" / "workers").glob("*.json")):
        try:
            runs = json.loads(note.read_text(encoding="utf-8")).get("job")
        except (OSError, ValueError):
            continue
        if runs == attempt.key:
            return note.with_suffix(".log")
    return None


# ---------------------------------------------------------------------- follow
def _follow(workspace: Workspace, store: Store, attempt: Attempt) -> None:
    """Print what is there and what comes, until the attempt has ended."""
    for chunk in _chunks(workspace, store, attempt):
        text = chunk.decode("utf-8", "replace")
        sys.stdout.write(clean(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()


def _chunks(workspace: Workspace, store: Store, attempt: Attempt) -> Iterator[bytes]:
    """Pieces of the log. The scratch file is copied to the attempt's folder at the end: the offset stays good."""
    offset = 0
    while True:
        attempt = _again(store, attempt)
        ended = attempt.state in TERMINAL["attempt"]  # asked before reading: nothing comes after the last look
        file = _file(workspace, attempt)
        for data in _read(file, offset) if file else ():
            offset += len(data)
            yield data
        if ended:
            return
        time.sleep(_POLL_S)


def _again(store: Store, attempt: Attempt) -> Attempt:
    found: Sequence[Attempt] = store.jobs.attempts([attempt.job_id])
    return next(a for a in found if a.id == attempt.id)


def _read(file: Path, offset: int) -> Iterator[bytes]:
    """Whole characters from the offset on."""
    try:
        with file.open("rb") as source:
            if os.fstat(source.fileno()).st_size < offset:
                return
            source.seek(offset)
            while data := source.read(_CHUNK):
                yield data
    except OSError:
        return
