"""The live display: a table and, in two dimensions, a map of the terminal's size; at most four pictures a second."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from idds_agents.catalog import LoopPlan
from idds_agents.cli.lines import figures
from idds_agents.cli.text import clean, counts, duration, percent
from idds_agents.cli.watching import Snapshot
from idds_agents.report.reading import LoopView
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from idds_agents.report.surface import Surface
    from idds_core.history import Point

__all__ = ["LiveDisplay"]

_NODES = 73  # of the map's grid: finer than a terminal shows
_ROWS_OF_TABLE = 10
_MOST_BARS, _BAR = 4, 20
_LEAST_WIDTH, _LEAST_HEIGHT, _MOST_WIDTH, _MOST_HEIGHT = 16, 6, 64, 26


class LiveDisplay:
    """Pictures on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._plan: LoopPlan | None = None
        self._map: tuple[Surface, tuple[Point, ...], int] | None = None
        self._map_note = ""
        self.wants_maps = False

    def start(self, plan: LoopPlan) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._plan = plan
        self.wants_maps = plan.loop.space.dimension == 2 and self._console.color_system is not None
        self._live.start()

    def stop(self) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        self._live.stop()

    def show_map(self, view: LoopView) -> None:
        """Compute the map of an iteration, once."""
        from idds_agents.report.surface import surface_of

        try:
            surrogate = view.surrogate
            if surrogate is not None:
                last = sum(1 for i in view.iterations if i.verdict)
                self._map = (surface_of(view.plan.loop.space, surrogate, _NODES), view.history.points, last)
        except IddsError as error:
            self._map_note = error.problems[0].what
            self.wants_maps = False

    def show(self, snapshot: Snapshot) -> None:
        """See :class:`~idds_agents.cli.watching.Display`."""
        parts: list[RenderableType] = [self._table(snapshot)]
        picture = self._picture(len(snapshot.progress[:_MOST_BARS]))
        if picture is not None:
            parts.append(picture)
        self._live.update(Group(*parts), refresh=True)

    # ------------------------------------------------------------------ the table
    def _table(self, snapshot: Snapshot) -> Table:
        rows = self._rows(snapshot)
        longest = max(len(name) for name, _ in rows)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        # a long value is cut, never the names
        table.add_column(overflow="ellipsis", no_wrap=True, max_width=max(10, self._console.width - longest - 4))
        for name, value in rows:
            table.add_row(name, value)
        return table

    def _rows(self, snapshot: Snapshot) -> list[tuple[str, Text]]:
        loop, decided = snapshot.loop, snapshot.decided
        by_class = Counter(a.failure_class or "INFRA" for a in snapshot.failed)
        jobs = snapshot.counters.get("jobs", 0)
        done = sum(n for name, n in snapshot.counters.items() if name.startswith("job "))
        state = Text(str(loop.state), style="bold")
        path = self._plan.path if self._plan else loop.name
        rows = [
            (path, state),
            ("points", Text(counts(snapshot.points))),
            ("jobs", Text(f"{snapshot.running} running, {done} of {jobs} ended")),
            ("iterations", Text(str(len(snapshot.iterations)))),
            ("map", Text(figures(decided[-1].diagnostics) if decided else "not yet")),
            ("failures", Text(counts(dict(sorted(by_class.items()))), style="" if not by_class else "bold")),
            ("elapsed", Text(duration(snapshot.elapsed_s))),
        ]
        reason = loop.reason or (decided[-1].verdict_reason if decided else "")
        rows.append(("because", Text(clean(reason))))
        if snapshot.failed:
            last = snapshot.failed[-1]
            rows.append(("last failure", Text(clean(f"{last.failure_code} {last.reason} ({last.path})"))))
        return rows + [(_short(p.path), _bar(p.fraction, p.text)) for p in snapshot.progress[:_MOST_BARS]]

    # ------------------------------------------------------------------ the map
    def _picture(self, bars: int) -> RenderableType | None:
        if self._map is None or self._plan is None:
            return Text(clean(self._map_note)) if self._map_note else None
        from idds_agents.report.terminal import draw_map

        surface, points, iteration = self._map
        size = self._console.size
        width = min(size.width - 4, _MOST_WIDTH)
        height = min(size.height - _ROWS_OF_TABLE - bars - 5, _MOST_HEIGHT, width // 2)
        if width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
            return None
        target, (x, y) = surface.targets[0], surface.axes
        head = Text(clean(f"{target} after iteration {iteration}: {y.label} against {x.label}"))
        return Padding(Group(head, draw_map(surface, target, points, width, height), _key()), (1, 0, 0, 2))


def _short(path: str) -> str:
    """``p/12 train`` of an attempt's path."""
    words = path.split("/")
    return f"p/{words[words.index('p') + 1]} {words[words.index('p') + 2]}" if "p" in words[:-2] else path


def _bar(fraction: float, text: str) -> Text:
    full = int(_BAR * fraction)
    return Text.assemble(
        ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * full, "bold"),
        ("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (_BAR - full), "dim"),
        " ", clean(percent(fraction, text)),
    )  # fmt: skip


def _key() -> Text:
    """What the colours and marks mean."""
    return Text.assemble(
        ("\N{FULL BLOCK}", "#1a5f9e"), " excluded  ", ("\N{FULL BLOCK}", "#e09840"), " not  ",
        ("\N{FULL BLOCK}", "#707076"), " not allowed  \N{BULLET} measured  \N{MULTIPLICATION SIGN} failed  "
        "\N{WHITE BULLET} infeasible  \N{WHITE DOWN-POINTING SMALL TRIANGLE} pruned",
        no_wrap=True, overflow="crop",
    )  # fmt: skip
