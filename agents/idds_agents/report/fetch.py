"""``get``: copies what jobs left behind out of a work folder, each file whole and checked, or says why not."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_agents.report.document import job_path
from idds_agents.report.export import write_whole
from idds_core.errors import IddsError
from idds_core.states import TERMINAL, JobState
from idds_core.store import Job, JobResult

__all__ = ["Fetched", "Missing", "Taken", "fetch"]

RESULT = "result.json"
_CHUNK = 1 << 20
_UNSAFE = re.compile(r"[^\w.+=@,-]")


@dataclass(frozen=True)
class Taken:
    """A file that was copied: whose, under which name of the step, and where it is now."""

    path: str
    name: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Missing:
    """What could not be copied, and why. expected: whether a result promised it."""

    path: str
    name: str
    why: str
    expected: bool = True


@dataclass
class Fetched:
    """All that was asked for."""

    taken: list[Taken] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether there was something, and all that results promised has come."""
        return bool(self.taken) and not any(m.expected for m in self.missing)

    def to_json(self) -> dict[str, Any]:
        """Files and gaps as JSON."""
        return {"files": [asdict(t) for t in self.taken], "missing": [asdict(m) for m in self.missing]}


def fetch(
    plan: LoopPlan, base: str, jobs: Sequence[Job], results: Mapping[int, JobResult], workdir: Path, out: Path
) -> Fetched:
    """Copy the outputs of jobs and a ``result.json`` for each into `out`, in folders as in their paths below `base`.

    Parameters
    ----------
    base : the path that was asked for; what a job's path has beyond it becomes its folder.
    results : job id -> result, of the jobs that have one.

    Raises
    ------
    IddsError
        When `out` cannot be written.

    """
    found = Fetched()
    for job in jobs:
        path = job_path(plan.path, job)
        result = results.get(job.id)
        if result is None:
            found.missing.append(Missing(path, RESULT, _why(job), expected=False))
            continue
        if result.sealed:
            why = "its results are sealed until 'unblind'"
            found.missing.append(Missing(path, RESULT, why, expected=False))
            continue
        folder = _folder(out, path.removeprefix(base).strip("/"))
        _job(found, path, result, workdir, folder)
    return found


def _why(job: Job) -> str:
    if job.state == JobState.DONE:
        return "its result is not on record"
    said = f": {job.reason}" if job.reason else ""
    return f"it is {job.state}{said}" if job.state in TERMINAL["job"] else f"it has not ended but is {job.state}{said}"


def _job(found: Fetched, path: str, result: JobResult, workdir: Path, folder: Path) -> None:
    """The files of one job, then its result, which names them as they are now."""
    names: dict[str, str] = {}
    for output, file in result.files.items():
        name = _name(output, str(file["path"]), result.attempt, {RESULT, *names.values()})
        try:
            size = _copy(_source(file, result.attempt, workdir), file, folder / name)
        except _GoneError as error:
            found.missing.append(Missing(path, output, str(error)))
            continue
        names[output] = name
        found.taken.append(Taken(path, output, str(folder / name), size, str(file["sha256"])))
    document = {"protocol": 1, "path": path, "attempt": result.attempt,
                "values": dict(result.values), "files": names}  # fmt: skip
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with _writing(folder / RESULT):
        write_whole(folder / RESULT, lambda partial: partial.write_text(text, encoding="utf-8"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    found.taken.append(Taken(path, RESULT, str(folder / RESULT), len(text.encode()), digest))


class _GoneError(Exception):
    """A file cannot be copied; says why."""


def _source(file: Mapping[str, Any], attempt: str, workdir: Path) -> Path:
    """Where the file is: at its place below this work folder, which may have been moved, else where it was made."""
    recorded = Path(str(file["path"]))
    _, here, rest = str(recorded).partition(f"/{attempt}/")
    moved = workdir / attempt / rest if here else recorded
    for place in (moved, recorded):
        if place.is_file():
            return place
    raise _GoneError(f"{recorded} is not there any more")


def _name(output: str, recorded: str, attempt: str, taken: set[str]) -> str:
    """A file name for the output: the one it has, made safe; the output's own name before it when that is taken."""
    _, here, rest = recorded.partition(f"/{attempt}/")
    words = [_safe(w) for w in PurePosixPath(rest if here else Path(recorded).name).parts if w not in ("..", "/")]
    name = "_".join(words) or _safe(output)
    while name.lower() in {t.lower() for t in taken}:
        name = f"{_safe(output)}_{name}"
    return name


def _safe(word: str) -> str:
    """A word that is a file's name everywhere and never hidden, a path or an option."""
    return _UNSAFE.sub("_", word)[-120:].lstrip(".-") or "_"


def _folder(out: Path, below: str) -> Path:
    """The folder of a job, made; no link on the way may lead out of `out`.

    Raises
    ------
    IddsError
        When it cannot be made, or lies elsewhere.

    """
    folder = out.joinpath(*[_safe(word) for word in below.split("/") if word])
    if not folder.resolve().is_relative_to(out.resolve()):
        raise IddsError.of("E-GET-001", f"{folder} leads elsewhere", "a link on the way", str(folder.resolve()),
                           "Give another folder with -o.")  # fmt: skip
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


class _writing:  # noqa: N801 - used as a statement
    """Turns an error of the system on the writing side into ours."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise IddsError.of("E-FILE-020", f"{self._place} cannot be written", error.strerror or str(error),
                               str(self._place), "Give another folder with -o.") from error  # fmt: skip


def _copy(source: Path, file: Mapping[str, Any], place: Path) -> int:
    """Copy a file whose content must be what the result says; returns its size.

    Raises
    ------
    _GoneError
        When it cannot be read, or has changed since.

    """
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    digest, size = hashlib.sha256(), 0
    try:
        with _writing(place):
            target = partial.open("wb")
        with target:
            for data in _read(source):
                digest.update(data)
                size += len(data)
                with _writing(place):
                    target.write(data)
        if digest.hexdigest() != file["sha256"]:
            raise _GoneError(f"{source} has changed since the job ended: {size} bytes, then {file['bytes']}")
        with _writing(place):
            partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _read(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            while data := file.read(_CHUNK):
                yield data
    except OSError as error:
        raise _GoneError(f"{source} cannot be read: {error.strerror or error}") from error
