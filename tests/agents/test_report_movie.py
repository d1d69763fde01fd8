"""Plots of an iteration and movies of all of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.agents.cli_kit import Cli, Runs


def test_a_movie_has_a_frame_for_each_iteration(cli: Cli, finished: Path, tmp_path: Path) -> None:
    done = cli("plot", "--workdir", finished, "--movie", tmp_path / "a.gif", "--json")
    assert done.code == 0
    assert done.json["frames"] == 3
    assert done.json["movie"] == done.json["file"] == str(tmp_path / "a.gif")
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]
    with Image.open(tmp_path / "a.gif") as movie:
        assert (movie.n_frames, movie.info["loop"]) == (3, 0)  # type: ignore[attr-defined]
        frames = []
        for i in range(3):
            movie.seek(i)
            frames.append(movie.convert("L"))
    edges = [[int(frame.getpixel((x, 400)) < 128) for x in range(40, 90)] for frame in frames]  # type: ignore[operator]
    assert edges[0] == edges[1] == edges[2]  # the axes stay where they are
    assert len({frame.tobytes() for frame in frames}) == 3


def test_a_movie_of_a_curve_up_to_an_iteration(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", Runs(tmp_path).scan("curve"), "--quiet").code == 0
    assert cli("plot", "--movie", "c.gif", "--iteration", "2", "-o", "c.png").out == "c.png\nc.gif\n"
    with Image.open(tmp_path / "c.gif") as movie:
        assert movie.n_frames == 2  # type: ignore[attr-defined]


def test_an_mp4_is_made_by_ffmpeg_and_refused_without(
    cli: Cli, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    done = cli("plot", "--workdir", finished, "--movie", "a.mp4")
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-PLOT-005 a.mp4 cannot be made: an mp4 needs ffmpeg")
    fake = tools / "ffmpeg"
    sh = shutil.which("sh", path=os.defpath)
    fake.write_text(
        f'#!{sh}\nfor last; do :; done\necho "$@" > {tmp_path / "told"}\necho movie > "$last"\n', encoding="utf-8"
    )
    fake.chmod(0o755)
    assert cli("plot", "--workdir", finished, "--movie", "a.mp4").code == 0
    assert (tmp_path / "a.mp4").read_text(encoding="utf-8") == "movie\n"
    assert "-pix_fmt yuv420p" in (tmp_path / "told").read_text(encoding="utf-8")
    fake.write_text(f"#!{sh}\necho 'Unknown encoder' >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "a.mp4").unlink()
    done = cli("plot", "--workdir", finished, "--movie", "a.mp4")
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-PLOT-006 ffmpeg failed: Unknown encoder")
    assert not (tmp_path / "a.mp4").exists()


def test_the_plot_of_an_iteration_is_of_what_was_known_then(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("plot", "--workdir", finished, "-o", "a.svg", "--iteration", "1", "--json").json["iteration"] == 1
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "plane/plane: iteration 1, 8 evaluations" in text
    done = cli("plot", "--workdir", finished, "--iteration", "9")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-REPORT-003 plane/plane has no closed iteration 9: there are 1 to 3")


def test_a_movie_of_what_has_no_map_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", Runs(tmp_path).scan("broken"), "--quiet").code == 3
    for arguments, says, code in (
        (("--movie", "a.gif"), "E-REPORT-002", 3),
        (("--movie", "a.png"), "E-PLOT-004", 4),
        (("--iteration", "1"), "E-REPORT-003", 4),
    ):
        done = cli("plot", *arguments)
        assert (done.code, len(done.lines)) == (code, 1)
        assert done.err.startswith(says)


def test_a_pdf_is_a_vector_drawing_with_its_fonts_in_it(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("plot", "--workdir", finished, "-o", "a.pdf").code == 0
    data = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    assert b"/Subtype /Image" not in data
