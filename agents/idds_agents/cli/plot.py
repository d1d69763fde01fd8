"""``plot``: figures of a loop, their numbers, and movies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.cli.problems import FINE, InputError, did_you_mean
from idds_agents.cli.products import as_input, loop_view, value_reader
from idds_agents.cli.text import print_json, say
from idds_core.errors import IddsError
from idds_core.space import Space

if TYPE_CHECKING:
    from idds_agents.report.figures import Wanted
    from idds_agents.report.reading import LoopView

__all__ = ["Options", "plot"]

#: what was asked of the wrong kind of loop, or of the wrong place
_ASKED = ("E-CONTOUR-001", "E-CONTOUR-002", "E-PLOT-003", "E-PLOT-007", "E-PLOT-008", "E-REPORT-003", "E-EXTRA-001")


@dataclass(frozen=True)
class Options:
    """What is to be drawn, and where to.

    cuts : ``NAME=VALUE`` where slices are cut. out, movie, data : files for the figure, the movie, the numbers.
    """

    out: Path | None = None
    target: str | None = None
    iteration: int | None = None
    movie: Path | None = None
    kind: str | None = None
    cuts: Sequence[str] = ()
    data: Path | None = None
    style: str | None = None


def plot(path: str | None, workdir: Path | None, asked: Options, *, as_json: bool) -> int:
    """Write a plot of a loop, or its numbers, as it stands or as it was; or the movie of its iterations; or all."""
    from idds_agents.report.cuts import checked_values
    from idds_agents.report.figures import Wanted
    from idds_agents.report.reading import view_at
    from idds_agents.report.style import look

    _check_endings(asked)  # told before the work is done
    with loop_view(path, workdir) as view:
        space = view.plan.loop.space
        try:
            with look(asked.style):  # an unknown style, or a missing one, too
                seen = view if asked.iteration is None else view_at(view, asked.iteration)
            fixed = checked_values(space, _cuts(space, asked.cuts))
            told = _write(seen, Wanted(asked.kind, asked.target, fixed, asked.style), asked)
        except IddsError as error:
            raise as_input(error, *_ASKED) from error
    written = [told[what] for what in ("out", "movie", "data") if what in told]
    if as_json:
        more: dict[str, Any] = {what: str(told[what].resolve()) for what in ("movie", "data") if what in told}
        more |= {"frames": told["frames"]} if "frames" in told else {}
        print_json({"path": seen.path, "iteration": asked.iteration, "kind": told["kind"],
                    "file": str(written[0].resolve()), "evaluations": seen.evaluations, **more})  # fmt: skip
        return FINE
    for place in written:
        say(f"{place}")
    return FINE


def _write(view: LoopView, wanted: Wanted, asked: Options) -> dict[str, Any]:
    """Write all that is asked for; the kind, the files by what they are, and the number of frames."""
    from idds_agents.report.figures import drawing, kind_of, write_figure
    from idds_agents.report.movie import write_movie

    told: dict[str, Any] = {"kind": kind_of(view, wanted)}
    if asked.movie is not None:
        told |= {"frames": write_movie(view, asked.movie, wanted), "movie": asked.movie}
    alone = asked.movie is None and asked.data is None
    out = asked.out or (Path(f"{view.workflow.path}.png") if alone else None)
    files = {what: file for what, file in (("out", out), ("data", asked.data)) if file is not None}
    if files:
        found = drawing(view, wanted)
        for file in files.values():
            write_figure(view, found, file, asked.style)
    return told | files


def _check_endings(asked: Options) -> None:
    from idds_agents.report import figure_data, movie
    from idds_agents.report.style import FORMATS

    allowed = (("plot", asked.out, (*FORMATS, *figure_data.FORMATS)), ("movie", asked.movie, movie.FORMATS),
               ("data", asked.data, figure_data.FORMATS))  # fmt: skip
    for what, given, endings in allowed:
        if given is not None and given.suffix.lower() not in endings:
            raise InputError.of("E-PLOT-004", f"{given} is no {what}", f"its ending is {given.suffix or 'missing'}", "",
                                f"Use one of {', '.join(endings)}.")  # fmt: skip


def _cuts(space: Space, given: Sequence[str]) -> dict[str, list[Any]]:
    """``NAME=VALUE``, each name once or several times, as values of the parameters."""
    found: dict[str, list[Any]] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        parameter = space.parameters.get(name)
        if not equals or parameter is None:
            fix = did_you_mean(name, list(space.names)) if equals else "For example --slice m_x=200."
            raise InputError.of("E-PLOT-007", f"--slice {text} cannot be read",
                                "there is no such parameter" if equals else "it is no NAME=VALUE", "", fix)  # fmt: skip
        try:
            found.setdefault(name, []).append(value_reader(parameter)(value))
        except ValueError as error:
            raise InputError.of("E-PLOT-007", f"--slice {text} cannot be read", str(error), "",
                                "Give a value of the parameter.") from None  # fmt: skip
    return found
