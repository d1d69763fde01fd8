"""The plot of a loop iteration by iteration, as a movie: one frame each, all with the same axes in the same place."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.cuts import slices, slices_again
from idds_agents.report.export import write_whole
from idds_agents.report.figures import MOST_SLICES, Wanted, kind_of
from idds_agents.report.plot import CURVE_NODES, check_target, draw_surface
from idds_agents.report.plot_slices import draw_slices
from idds_agents.report.reading import LoopView, decided_iterations, view_at
from idds_agents.report.style import look
from idds_agents.report.surface import need_surrogate, surface_of
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["FORMATS", "write_movie"]

FORMATS = (".gif", ".mp4")
_DPI = 100
_NODES, _SLICE_NODES = 121, 61
_FRAME_MS, _LAST_MS = 500, 2500
_COLOURS = 128
_FFMPEG_S = 300


def write_movie(view: LoopView, file: Path, wanted: Wanted | None = None) -> int:
    """Write the movie of the contour or of slices; the end of the name tells the format. Returns the number of frames.

    All frames cut at the same places, those of the last one.

    Raises
    ------
    IddsError
        When there is no map in any iteration, no ffmpeg for an mp4, another kind is wanted, or the place cannot be
        written.

    """
    if file.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise IddsError.of("E-PLOT-005", f"{file.name} cannot be made", "an mp4 needs ffmpeg, which is not here",
                           str(file), "Install ffmpeg, or give a name that ends in .gif.")  # fmt: skip
    images = _images(view, wanted or Wanted())
    try:
        write_whole(file, lambda partial: _WRITERS[file.suffix.lower()](images, partial))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{file} cannot be written", error.strerror or str(error), str(file),
                           "Give another FILE.") from error  # fmt: skip
    return len(images)


def _drawing(last: LoopView, wanted: Wanted) -> Callable[[LoopView], Figure]:
    """What draws a view like the last one."""
    kind = kind_of(last, wanted)
    if kind == "contour":
        space = last.plan.loop.space
        nodes = _NODES if space.dimension == 2 else CURVE_NODES

        def draw(view: LoopView) -> Figure:
            return draw_surface(view, surface_of(space, need_surrogate(view), nodes), wanted.target, wanted.style)

        return draw
    if kind != "slices":
        raise IddsError.of("E-PLOT-007", f"there is no movie of the plot {kind}", "it has no map", last.path,
                           "Use --kind contour or slices.")  # fmt: skip
    found = slices(last, _SLICE_NODES, MOST_SLICES, wanted.fixed)
    return lambda view: draw_slices(view, slices_again(view, found, _SLICE_NODES), wanted.target, wanted.style)


def _images(view: LoopView, wanted: Wanted) -> list[Image]:
    check_target(view, wanted.target)
    seen = [v for v in (view_at(view, number) for number in decided_iterations(view)) if v.surrogate is not None]
    if not seen:
        raise IddsError.of("E-REPORT-002", f"{view.path} has no map", "no closed iteration has one", view.path,
                           "Wait for more points, or use a learner that has a map.")  # fmt: skip
    draw = _drawing(seen[-1], wanted)
    with look(wanted.style):  # letters are looked for when they are drawn
        model = draw(seen[-1])
        last = _image(model)  # drawn first: only then its axes are where they belong
        images = []
        for earlier in seen[:-1]:
            figure = draw(earlier)
            _align(figure, model)
            images.append(_image(figure))
    return [*images, last]


def _align(figure: Figure, model: Figure) -> None:
    """Axes where the last frame has them, with its limits: nothing jumps."""
    figure.set_layout_engine("none")
    for axes, other in zip(figure.axes, model.axes, strict=True):
        axes.set_position(other.get_position().bounds)
        if axes.get_yscale() != other.get_yscale():
            axes.set_yscale(other.get_yscale())
        axes.set_xlim(other.get_xlim())
        axes.set_ylim(other.get_ylim())


def _image(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")


def _gif(images: Sequence[Image], file: Path) -> None:
    from PIL.Image import Dither, Quantize

    drawn = [image.quantize(_COLOURS, Quantize.MEDIANCUT, dither=Dither.NONE) for image in images]
    times = [*[_FRAME_MS] * (len(drawn) - 1), _LAST_MS]
    drawn[0].save(file, save_all=True, append_images=drawn[1:], duration=times, loop=0, format="GIF")


def _mp4(images: Sequence[Image], file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shown = [*images, *[images[-1]] * (_LAST_MS // _FRAME_MS - 1)]
        for i, image in enumerate(shown):
            image.save(Path(folder) / f"{i:05d}.png")
        command = ["ffmpeg", "-y", "-loglevel", "error", "-framerate", f"{1000 / _FRAME_MS:g}",
                   "-i", f"{folder}/%05d.png", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p",
                   str(file)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_FFMPEG_S)
    if done.returncode != 0 or not file.exists():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise IddsError.of("E-PLOT-006", "ffmpeg failed", last[:300], file.name, "Give a name that ends in .gif.")


_WRITERS = {".gif": _gif, ".mp4": _mp4}
