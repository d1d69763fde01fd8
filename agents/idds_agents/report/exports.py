"""``export``: which formats there are, what each can hold, and how it gets to its place whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from idds_agents.report.export import contour_csv, contour_json, write_whole
from idds_agents.report.points import points_table
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Surface, need_surrogate, surface_of
from idds_agents.report.tables import contour_table, map_json, map_table, table_csv, table_json, table_parquet
from idds_core.errors import IddsError, did_you_mean

__all__ = ["FOLDERS", "FORMATS", "TEXTS", "WHATS", "Request", "export_text", "export_to", "request"]

TEXTS = ("csv", "json")
FOLDERS = ("hepdata", "surrogate")
FORMATS = (*TEXTS, "parquet", *FOLDERS)
WHATS = ("contour", "points", "map")
#: what the target folder of an export holds when it was made by one: only such a folder is written into
_MARKS = {"hepdata": "submission.yaml", "surrogate": "surrogate.json"}


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    kind : one of FORMATS. what : one of WHATS, for tables. grid : nodes of an axis of the map; None: the usual number.
    """

    kind: str
    what: str = "contour"
    grid: int | None = None


def request(kind: str | None, what: str | None, out: Path | None, grid: int | None = None) -> Request:
    """What is meant: a format by its name, else by how `out` ends or is called, else CSV.

    Raises
    ------
    IddsError
        For a format or a content that does not exist, or the two together.

    """
    wanted = kind
    if wanted is None and out is not None:
        wanted = out.suffix.lstrip(".").lower() or (out.name if out.name in FOLDERS else None)
    wanted = wanted or "csv"
    if wanted not in FORMATS:
        raise IddsError.of("E-EXPORT-001", f"there is no format {wanted}", "", "", _known(wanted, FORMATS))
    if what is not None and what not in WHATS:
        raise IddsError.of("E-EXPORT-002", f"there is no {what} to export", "", "", _known(what, WHATS))
    if wanted in FOLDERS and what is not None:
        raise IddsError.of("E-EXPORT-002", f"{wanted} holds no choice of {what}", "it is always the same whole", "",
                           "Leave --what out, or take csv, json or parquet.")  # fmt: skip
    return Request(wanted, what or "contour", grid)


def _known(name: str, known: tuple[str, ...]) -> str:
    return did_you_mean(name, known) or f"Known: {', '.join(known)}."


def export_text(view: LoopView, asked: Request) -> str:
    """The text of a CSV or JSON export."""
    if asked.what == "points":
        table = points_table(view)
        return table_csv(table) if asked.kind == "csv" else table_json(view, table, "points")
    surface = _surface(view, asked.grid)
    if asked.what == "map":
        return table_csv(map_table(surface)) if asked.kind == "csv" else map_json(view, surface)
    return contour_csv(surface) if asked.kind == "csv" else contour_json(view, surface)


def _surface(view: LoopView, grid: int | None) -> Surface:
    space, surrogate = view.plan.loop.space, need_surrogate(view)
    return surface_of(space, surrogate) if grid is None else surface_of(space, surrogate, grid)


def export_to(view: LoopView, asked: Request, out: Path | None = None) -> list[Path]:
    """Write an export; returns the files. Without `out` its name is that of the workflow, in the current folder.

    Raises
    ------
    IddsError
        When there is nothing to export yet, a library is missing, or the place cannot be written.

    """
    if out is None:
        ending = f"-{asked.kind}" if asked.kind in FOLDERS else f"-{asked.what}.{asked.kind}"
        out = Path(f"{view.workflow.path}{ending}")
    try:
        if asked.kind in FOLDERS:
            return _whole_folder(out, asked.kind, _filler(view, asked.kind))
        write_whole(out, _writer(view, asked))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{out} cannot be written", error.strerror or str(error), str(out),
                           "Give another -o.") from error  # fmt: skip
    return [out]


def _writer(view: LoopView, asked: Request) -> Callable[[Path], object]:
    """Everything is computed before the file is begun."""
    if asked.kind in TEXTS:
        text = export_text(view, asked)
        return lambda path: path.write_text(text, encoding="utf-8")
    if asked.what == "points":
        table = points_table(view)
    else:
        surface = _surface(view, asked.grid)
        table = map_table(surface) if asked.what == "map" else contour_table(surface)
    return lambda path: table_parquet(view, table, path)


def _filler(view: LoopView, kind: str) -> Callable[[Path], None]:
    if kind == "hepdata":
        from idds_agents.report.hepdata import write_submission

        return lambda folder: write_submission(view, folder)
    from idds_agents.report.surrogate_files import write_surrogate

    return lambda folder: write_surrogate(view, folder)


def _whole_folder(out: Path, kind: str, fill: Callable[[Path], None]) -> list[Path]:
    """Fill a new folder beside `out`, then move its files into place; the file that names the others comes last.

    A folder that another export of this kind has made is written again: its files that are not made any more go.
    """
    mark = _MARKS[kind]
    old = _old_files(out, mark)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        fill(fresh)
        names = sorted((p.name for p in fresh.iterdir()), key=lambda name: (name == mark, name))
        out.mkdir(exist_ok=True)
        for name in names:
            (fresh / name).replace(out / name)
        for name in old - set(names):
            (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [out / name for name in names]


def _old_files(out: Path, mark: str) -> set[str]:
    """Files of an export that is there already.

    Raises
    ------
    IddsError
        When something else is there.

    """
    if not os.path.lexists(out):
        return set()
    names = {p.name for p in out.iterdir()} if out.is_dir() else {out.name}
    mine = {n for n in names if n == mark or n.endswith((".yaml", ".npz")) or n == "README.md"}
    if names and (mark not in names or names != mine):
        other = sorted(names - mine) or sorted(names)
        raise IddsError.of("E-EXPORT-003", f"{out} is no folder of such an export", f"it holds {other[0]}", str(out),
                           "Give a new or an empty folder with -o.")  # fmt: skip
    return mine
