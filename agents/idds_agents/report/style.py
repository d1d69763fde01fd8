"""How plots look: our own style, or that of an experiment; where their files may end, and how one is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.export import write_whole
from idds_agents.report.extras import need
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "DASHES", "FORBIDDEN", "FORMATS", "INK", "MUTED", "STYLES", "colour", "grid_of", "legend_below",
    "look", "save", "unwritable"]  # fmt: skip

FORMATS = (".png", ".svg", ".pdf")
STYLES = ("atlas", "cms")
# Okabe and Ito: told apart by everybody, and in grey by the dashes
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
FORBIDDEN, INK, MUTED = "#e3e3e6", "#222222", "#777777"
_STYLE: dict[str, Any] = {
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
}
# of every style: text that stays text, and files that are the same each time
_FILES: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "idds", "pdf.fonttype": 42, "hatch.linewidth": 0.5}
_SIZE = 11.5
#: of an experiment's style: lengths that go with the size of its letters, and what our figures decide themselves
_LENGTHS = ("font.size", "axes.linewidth", "axes.labelpad", "major.size", "minor.size", "major.pad", "minor.pad",
    "major.width", "minor.width", "lines.linewidth", "lines.markersize")  # fmt: skip
_OURS = ("figure.", "axes.autolimit_mode", "axes.xmargin", "legend.borderpad", "legend.numpoints", "savefig.",
    "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize",
    "axes.formatter")  # fmt: skip


def _rules(style: str | None) -> dict[str, Any]:
    """Matplotlib's settings of a style."""
    from cycler import cycler

    if style is None:
        return {**_STYLE, **_FILES, "axes.prop_cycle": cycler(color=COLOURS)}
    hep = need("mplhep", "hep", f"--style {style}")
    given = dict(getattr(hep.style, style.upper()))
    scale = _SIZE / float(given["font.size"])
    kept = {
        name: scale * value if name.endswith(_LENGTHS) and isinstance(value, (int, float)) else value
        for name, value in given.items()
        if not name.startswith(_OURS)
    }
    sizes = {"axes.titlesize": "medium", "axes.labelsize": "large", "legend.fontsize": "small"}
    return {**kept, **_FILES, **sizes, "legend.frameon": False}


@contextmanager
def look(style: str | None = None) -> Iterator[None]:
    """Draw inside in our own style, or in that of an experiment ("atlas", "cms").

    Raises
    ------
    IddsError
        For a style that does not exist, or when mplhep, which has them, is missing.

    """
    import matplotlib as mpl

    if style is not None and style not in STYLES:
        raise IddsError.of("E-PLOT-008", f"there is no style {style}", "", "", f"Use one of {', '.join(STYLES)}.")
    rules: Any = _rules(style)
    with mpl.rc_context(rules):
        yield


def colour(index: int) -> str:
    """The colour of a target in the style of the moment; they begin again when all are used."""
    import matplotlib as mpl

    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    return str(colours[index % len(colours)])


def grid_of(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure with panels of so many inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.get_layout_engine().set(**({"w_pad": 0.09, "h_pad": 0.07} if columns > 1 else {}))  # type: ignore[union-attr]
    FigureCanvasAgg(figure)
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, **more)]


def legend_below(figure: Figure, panels: list[Axes], most: int = 3) -> None:
    """One legend below all panels: what is the same in every panel is told once."""
    told: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        told |= dict(zip(labels, handles, strict=True))
    if told:
        figure.legend(list(told.values()), list(told), loc="outside lower center", ncols=min(most, len(told)),
                      handlelength=2.6)  # fmt: skip


def save(figure: Figure, path: Path, style: str | None = None) -> None:
    """Write the figure in the style that it was drawn in; the end of the name tells the format.

    Raises
    ------
    IddsError
        For another ending, or a place that cannot be written.

    """
    if path.suffix.lower() not in FORMATS:
        raise IddsError.of("E-PLOT-004", f"{path.name} is no plot", f"its ending is {path.suffix or 'missing'}",
                           str(path), f"Use one of {', '.join(FORMATS)}.")  # fmt: skip
    # no date inside: the same loop gives the same file
    metadata: Mapping[str, Any] | None = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(
        path.suffix.lower()
    )
    try:
        with look(style):
            write_whole(path, lambda partial: figure.savefig(partial, dpi=200, metadata=metadata))
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> IddsError:
    """What is said of a place that cannot be written."""
    return IddsError.of("E-FILE-020", f"{path} cannot be written", error.strerror or str(error), str(path),
                        "Give another -o FILE.")  # fmt: skip
