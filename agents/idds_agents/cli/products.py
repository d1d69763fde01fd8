"""``plot``, ``predict``, ``export``: what is taken away from a loop."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import print_json, say, warn
from idds_agents.cli.where import looking, resolve_loop
from idds_agents.report.reading import LoopView, view_loop
from idds_core.errors import IddsError, Problem
from idds_core.space import Categorical, Integer, Log, Parameter, Space

if TYPE_CHECKING:
    from idds_agents.report.exports import Request
    from idds_core.ports import Surrogate

__all__ = ["export", "plot", "predict"]

_CHUNK = 4096
#: what was asked of the wrong kind of loop, or of the wrong place
_ASKED = ("E-CONTOUR-001", "E-CONTOUR-002", "E-EXPORT-003", "E-EXPORT-005", "E-EXTRA-001")


@contextmanager
def _loop(path: str | None, workdir: Path | None) -> Iterator[LoopView]:
    with looking(workdir, path) as (workspace, store):
        target = resolve_loop(store, path)
        yield view_loop(store, workspace.folder, target.loop.id)


def plot(
    path: str | None,
    workdir: Path | None,
    *,
    out: Path | None,
    target: str | None,
    as_json: bool,
    iteration: int | None = None,
    movie: Path | None = None,
) -> int:
    """Write the plot of a loop, as it stands or as it was; or the movie of its iterations, or both."""
    from idds_agents.report import movie as movies
    from idds_agents.report.plot import FORMATS, draw, save
    from idds_agents.report.reading import view_at

    for given, formats in ((out, FORMATS), (movie, movies.FORMATS)):  # told before the work is done
        if given is not None and given.suffix.lower() not in formats:
            raise InputError.of("E-PLOT-004", f"{given} is no {'plot' if given is out else 'movie'}",
                                f"its ending is {given.suffix or 'missing'}", "",
                                f"Use one of {', '.join(formats)}.")  # fmt: skip
    with _loop(path, workdir) as view:
        told: dict[str, Any] = {"path": view.path, "iteration": iteration}
        try:
            seen = view if iteration is None else view_at(view, iteration)
            if movie is not None:
                told["frames"] = movies.write_movie(seen, movie, target)
                told["movie"] = str(movie.resolve())
            file = out if movie is not None else out or Path(f"{view.workflow.path}.png")
            if file is not None:
                save(draw(seen, target), file)
        except IddsError as error:
            raise _as_input(error, "E-CONTOUR-001", "E-CONTOUR-002", "E-PLOT-003", "E-REPORT-003") from error
        told |= {"file": str((file or movie or Path()).resolve()), "evaluations": seen.evaluations}
    if as_json:
        print_json(told)
    else:
        for written in (file, movie):
            if written is not None:
                say(f"{written}")
    return FINE


def _as_input(error: IddsError, *codes: str) -> IddsError:
    """What was asked of the wrong kind of loop is the asker's mistake."""
    return InputError(*error.problems) if error.code in codes else error


def export(
    path: str | None,
    workdir: Path | None,
    *,
    kind: str | None,
    what: str | None,
    out: Path | None,
    grid: int | None,
    as_json: bool,
) -> int:
    """Write contour, points or map: CSV and JSON to stdout or a file, the others to a file or folder."""
    from idds_agents.report.exports import TEXTS, Request, export_text, export_to, request

    try:
        asked = request(kind, what, out, grid)
    except IddsError as error:
        raise _as_input(error, error.code) from error
    text = out is None and asked.kind in TEXTS
    if as_json and (text or (kind is None and out is not None and not out.suffix and asked.kind == "csv")):
        asked = Request("json", asked.what, grid)
    with _loop(path, workdir) as view:
        try:
            if text:
                sys.stdout.write(export_text(view, asked))
                return FINE
            files = export_to(view, asked, out)
        except IddsError as error:
            raise _as_input(error, *_ASKED) from error
    if as_json:
        where = [str(file.resolve()) for file in files]
        print_json({"protocol": 1, "path": view.path, "format": asked.kind, "what": _what(asked), "files": where})
        return FINE
    for file in files:
        say(f"{file}")
    return FINE


def _what(asked: Request) -> str | None:
    """What a table holds; a folder holds the whole."""
    from idds_agents.report.exports import FOLDERS

    return None if asked.kind in FOLDERS else asked.what


# ---------------------------------------------------------------------- predict
def predict(path: str | None, workdir: Path | None, *, points: Path, as_json: bool) -> int:
    """Print the points of a CSV file with the prediction of every target beside them."""
    from idds_agents.report.surface import need_surrogate

    with _loop(path, workdir) as view:
        space = view.plan.loop.space
        head, lines = _table(points)
        given = _points(space, head, lines, points)
        rows = [row for _, row in lines]
        surrogate = need_surrogate(view)
    fields = [f"{t}_{what}" for t in surrogate.targets for what in ("mean", "sd", "p_excluded")]
    taken = [f for f in fields if f in head]
    if taken:
        raise _bad(f"column {taken[0]} is taken", "the prediction has a column of that name", points, "Rename it.")
    _warn_outside(space, given)
    predicted = (
        row for start in range(0, len(given), _CHUNK) for row in _rows(surrogate, given[start : start + _CHUNK])
    )
    if as_json:
        print_json([{**dict(zip(head, row, strict=True)), **dict(zip(fields, numbers, strict=True))}
                    for row, numbers in zip(rows, predicted, strict=True)])  # fmt: skip
        return FINE
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*head, *fields])
    writer.writerows([*row, *numbers] for row, numbers in zip(rows, predicted, strict=True))
    return FINE


def _rows(surrogate: Surrogate, points: Sequence[Mapping[str, Any]]) -> Iterator[list[float]]:
    found = surrogate.predict(points)
    arrays = [getattr(found[t], what).tolist() for t in surrogate.targets for what in ("mean", "sd", "p_excluded")]
    return (list(row) for row in zip(*arrays, strict=True))


def _bad(what: str, why: str, file: Path, fix: str, line: int | None = None) -> InputError:
    where = str(file) if line is None else f"{file}:{line}"
    return InputError.of("E-PREDICT-001", what, why, where, fix)


_Lines = list[tuple[int, list[str]]]


def _table(file: Path) -> tuple[list[str], _Lines]:
    """Head and rows of a CSV file with the number of their line, every row as long as the head."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.reader(source, strict=True)
            lines = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise _bad(f"{file} cannot be read", error.strerror or str(error), file, "Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad(f"{file} is no CSV file", str(error), file, "Give comma-separated text in UTF-8.") from error
    if not lines:
        raise _bad(f"{file} is empty", "", file, "Give a line with column names, then a line for each point.")
    head = [name.strip() for name in lines[0][1]]
    double = sorted({name for name in head if head.count(name) > 1})
    if double:
        raise _bad(f"column {double[0]} is there twice", "", file, "Remove one.", lines[0][0])
    for number, row in lines[1:]:
        if len(row) != len(head):
            raise _bad(f"a line has {len(row)} values", f"there are {len(head)} columns", file, "Mend it.", number)
    if len(lines) == 1:
        raise _bad(f"{file} has no points", "only a head", file, "Add a line for each point.")
    return head, lines[1:]


def _points(space: Space, head: list[str], lines: _Lines, file: Path) -> list[dict[str, Any]]:
    """Parameter values of every row."""
    missing = [name for name in space.names if name not in head]
    if missing:
        raise _bad(f"column {', '.join(missing)} is missing", f"the columns are {', '.join(head)}", file,
                   f"The parameters are {', '.join(space.names)}.")  # fmt: skip
    columns = {}
    for name, parameter in space.parameters.items():
        read, at = _reader(parameter), head.index(name)
        values = []
        for number, row in lines:
            try:
                values.append(read(row[at].strip()))
            except ValueError as error:
                raise _bad(f"{name}={row[at]!r} cannot be used", str(error), file, "Mend it.", number) from None
        columns[name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _reader(parameter: Parameter) -> Callable[[str], Any]:
    if isinstance(parameter, Categorical):
        return lambda text: _choice(text, parameter)
    positive, whole = isinstance(parameter, Log), isinstance(parameter, Integer)

    def read(text: str) -> float | int:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("it is no number") from None
        if not math.isfinite(value):
            raise ValueError("it is not finite")
        if positive and value <= 0:
            raise ValueError("it is measured on a logarithmic scale and must be above 0")
        return int(value) if whole and value.is_integer() else value

    return read


def _choice(text: str, parameter: Categorical) -> str:
    if text not in parameter.choices:
        raise ValueError(f"the choices are {', '.join(parameter.choices)}")
    return text


def _warn_outside(space: Space, points: list[dict[str, Any]]) -> None:
    """Outside its space a surrogate extrapolates: one line says so, since the numbers look like any other."""
    inside = space.allowed(points)
    held = [all(p.holds(point[n]) for n, p in space.parameters.items()) for point in points]
    outside = sum(1 for a, b in zip(inside.tolist(), held, strict=True) if not (a and b))
    if outside:
        warn(Problem("W-PREDICT-002", f"{outside} of {len(points)} points are outside the space",
                     "out of range or against a constraint; nothing was measured there", "",
                     "Do not rely on their predictions."))  # fmt: skip
