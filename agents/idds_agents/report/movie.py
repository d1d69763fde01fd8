"""The plot of a loop iteration by iteration, as a movie: one frame each, all with the same axes in the same place."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.export import write_whole
from idds_agents.report.plot import draw
from idds_agents.report.reading import LoopView, decided_iterations, view_at
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["FORMATS", "write_movie"]

FORMATS = (".gif", ".mp4")
_DPI = 100
_NODES = 121
_FRAME_MS, _LAST_MS = 500, 2500
_COLOURS = 128
_FFMPEG_S = 300


def write_movie(view: LoopView, file: Path, target: str | None = None) -> int:
    """Write the movie; the end of the name tells the format. Returns the number of frames.

    Raises
    ------
    IddsError
        When there is no map in any iteration, no ffmpeg for an mp4, or the place cannot be written.

    """
    if file.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise IddsError.of("E-PLOT-005", f"{file.name} cannot be made", "an mp4 needs ffmpeg, which is not here",
                           str(file), "Install ffmpeg, or give a name that ends in .gif.")  # fmt: skip
    images = _images(view, target)
    try:
        write_whole(file, lambda partial: _WRITERS[file.suffix.lower()](images, partial))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{file} cannot be written", error.strerror or str(error), str(file),
                           "Give another FILE.") from error  # fmt: skip
    return len(images)


def _images(view: LoopView, target: str | None) -> list[Image]:
    seen = [v for v in (view_at(view, number) for number in decided_iterations(view)) if v.surrogate is not None]
    if not seen:
        raise IddsError.of("E-REPORT-002", f"{view.path} has no map", "no closed iteration has one", view.path,
                           "Wait for more points, or use a learner that has a map.")  # fmt: skip
    model = draw(seen[-1], target, _NODES)
    last = _image(model)  # drawn first: only then its axes are where they belong
    images = []
    for earlier in seen[:-1]:
        figure = draw(earlier, target, _NODES)
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
