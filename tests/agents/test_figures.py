"""The figures of a loop in many parameters: their numbers are right, they are readable, and they come as data."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from scipy.special import ndtr

from idds_agents.report import cuts, shape
from idds_agents.report.figures import KINDS, Drawing, Wanted, drawing
from idds_agents.report.plot_points import excluded_points
from idds_agents.report.reading import LoopView
from idds_agents.result import open_result
from idds_core.errors import IddsError
from idds_core.ports import Prediction
from tests.agents.cli_kit import Cli
from tests.agents.report_kit import opened

WIDE = [k for k in KINDS if k not in ("contour", "search")]


@pytest.fixture
def view(wide: Path) -> Iterator[LoopView]:
    store, view = opened(wide)
    yield view
    store.close()


class Exact:
    """A map that is known: the sum of two coordinates, a step for each n, and one for the decay; excluded below 1."""

    targets = ("obs",)
    levels: Mapping[str, float] = {"obs": 1.0}

    def predict(self, points: Sequence[Mapping[str, Any]]) -> dict[str, Prediction]:
        mean = np.array([self.mean(p) for p in points])
        sd = np.full(len(points), 0.05)
        return {"obs": Prediction(mean, sd, ndtr((1.0 - mean) / sd))}

    @staticmethod
    def mean(p: Mapping[str, Any]) -> float:
        x, y = (p["m_x"] - 400) / 2400, math.log(p["g"] / 0.1) / math.log(30)
        return float(x + y + 0.1 * (p["n"] - 1) + (0.2 if p["decay"] == "tautau" else 0.0))


@pytest.fixture
def exact(view: LoopView) -> LoopView:
    known = dataclasses.replace(view)
    known.__dict__["surrogate"] = Exact()
    return known


# ---------------------------------------------------------------------- the numbers
def test_a_profile_is_the_lowest_and_the_highest_over_all_other_parameters(exact: LoopView) -> None:
    (found,) = shape.profile(exact, "m_x", ["obs"])
    x = (np.array(found.values) - 400) / 2400
    most = np.minimum(4, np.ceil(np.array(found.values) / 300) - 1)  # what the constraint allows
    np.testing.assert_allclose(found.low, x, atol=0.01)
    np.testing.assert_allclose(found.high, x + 1.2 + 0.1 * (most - 1), atol=0.02)
    np.testing.assert_allclose(found.low_sd, 0.05)
    (found,) = shape.profile(exact, "decay", ["obs"])
    assert found.values == ["bb", "tautau"]
    np.testing.assert_allclose(found.low, [0.0, 0.2], atol=0.02)


def test_the_excluded_volume_is_that_of_the_whole_allowed_space(exact: LoopView) -> None:
    space = exact.plan.loop.space
    points = space.from_unit(np.random.default_rng(1).random((40_000, 4)))
    points = [p for p, fine in zip(points, space.allowed(points).tolist(), strict=True) if fine]
    mean = np.array([Exact.mean(p) for p in points])
    found = shape.excluded_volume(shape.cloud(exact))["obs"]
    assert found["share"] == pytest.approx((mean < 1).mean(), abs=0.01)
    assert found["range"] == [pytest.approx((mean < edge).mean(), abs=0.01) for edge in (0.95, 1.05)]


def test_shares_of_pairs_add_up_to_the_whole(exact: LoopView) -> None:
    space, found = exact.plan.loop.space, shape.cloud(exact)
    whole = shape.excluded_volume(found)["obs"]["share"]
    for names in [("n",), ("m_x", "g"), ("decay", "n")]:
        got = shape.share(space, found, "obs", names)
        columns = [found.unit[:, space.names.index(n)] for n in reversed(names)]
        edges = [np.linspace(0, 1, k + 1) for k in got.excluded.shape]
        weights = np.histogramdd(np.stack(columns, axis=1), bins=edges)[0]
        assert np.nansum(got.excluded * weights) / weights.sum() == pytest.approx(whole)
    assert shape.share(space, found, "obs", ("decay", "n")).excluded.shape == (4, 2)


def test_slices_have_the_contour_of_the_map_where_they_are_cut(exact: LoopView) -> None:
    fixed: dict[str, list[Any]] = {"n": [2], "decay": ["tautau", "bb"]}
    found = cuts.slices(exact, 61, 12, fixed)
    assert [dict(c.fixed) for c in found.cuts] == [{"n": 2, "decay": "tautau"}, {"n": 2, "decay": "bb"}]
    for cut, total in zip(found.cuts, (0.7, 0.9), strict=True):
        (line,) = cut.surface.lines("obs")
        sums = [Exact.mean({"m_x": x, "g": g, "n": 1, "decay": "bb"}) for x, g in line.points]
        np.testing.assert_allclose(sums, total, atol=0.01)
        xs = cut.surface.grid.axes[0]
        assert cut.surface.grid.allowed.all(axis=0).tolist() == (xs > 600).tolist()


def test_without_being_told_slices_go_through_the_point_nearest_to_the_level(view: LoopView) -> None:
    found = cuts.slices(view, 9, 12)
    best = min(view.history.measured, key=lambda p: abs(p.observation.values["obs"] - 0.05))  # type: ignore[union-attr]
    assert found.centre.parameters == dict(best.parameters)
    assert found.centre.text.startswith(f"point {best.number}, obs = 0.0")
    assert len(found.cuts) == 6  # three pairs of ordered parameters, for each of two choices
    assert {c.fixed["decay"] for c in found.cuts} == {"bb", "tautau"}
    few = cuts.slices(view, 9, 2)
    assert (len(few.cuts), few.left_out) == (2, 4)
    assert "m_x" in few.cuts[0].surface.grid.names  # n matters least


def test_points_that_are_near_a_slice_share_its_choices(view: LoopView) -> None:
    cut = cuts.slices(view, 9, 12).cuts[0]
    space = view.plan.loop.space
    for point in view.history.points:
        if cuts.near(space, point, cut):
            assert point.parameters["decay"] == cut.fixed["decay"]
    assert any(cuts.near(space, p, cut) for p in view.history.points)


@pytest.mark.parametrize("below", [True, False])
def test_which_points_are_excluded_the_map_tells(exact: LoopView, below: bool) -> None:
    if not below:
        real = exact.surrogate
        assert real is not None

        class Turned(Exact):
            def predict(self, points: Sequence[Mapping[str, Any]]) -> dict[str, Prediction]:
                p = Exact.predict(self, points)["obs"]
                return {"obs": Prediction(p.mean, p.sd, 1 - p.p_excluded)}

        exact.__dict__["surrogate"] = Turned()
    seen = {p.number: dataclasses.replace(p, observation=dataclasses.replace(
        p.observation, values={"obs": Exact.mean(p.parameters), "exp": 0.1})) for p in exact.history.measured
        if p.observation}  # fmt: skip
    history = dataclasses.replace(exact.history, points=tuple(seen.get(p.number, p) for p in exact.history.points))
    told = dataclasses.replace(exact, history=history)
    told.__dict__["surrogate"] = exact.surrogate
    found = excluded_points(told, "obs")
    assert found == {n: (Exact.mean(p.parameters) < 1) == below for n, p in seen.items()}


# ---------------------------------------------------------------------- readable
def _boxes(figure: Any) -> list[tuple[str, Any]]:
    """Words of a figure with their places, without those of ticks."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    ticks = {t for a in figure.axes for axis in (a.xaxis, a.yaxis) for t in axis.get_ticklabels(which="both")}
    words = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in words
            if t not in ticks and (t.axes is None or t.axes.axison or t.axes.texts)]  # fmt: skip


def _made(view: LoopView, kind: str, **more: Any) -> tuple[Drawing, Any]:
    found = drawing(view, Wanted(kind, **more))
    return found, found.draw()


@pytest.mark.parametrize("style", [None, "atlas", "cms"])
@pytest.mark.parametrize("kind", WIDE)
def test_no_words_lie_on_others_and_the_legend_is_outside_of_the_data(
    view: LoopView, kind: str, style: str | None
) -> None:
    _, figure = _made(view, kind, style=style)
    boxes = [(text, box) for text, box in _boxes(figure) if box.width > 1]
    hit = [(a, b) for (a, one), (b, two) in combinations(boxes, 2)
           if one.padded(-1).overlaps(two.padded(-1))]  # fmt: skip
    assert not hit
    width, height = figure.canvas.get_width_height()
    outside = [text for text, box in boxes if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    assert not outside
    for legend in figure.legends:
        frame = legend.get_window_extent()
        assert not [a for a in figure.axes if a.axison and frame.overlaps(a.get_window_extent())]


def test_axes_have_units_and_plain_numbers(view: LoopView) -> None:
    _, figure = _made(view, "slices", fixed={"n": [1], "decay": ["bb"]})
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("m_x [GeV]", "g")
    figure.draw_without_rendering()
    assert "0.5" in [t.get_text() for t in axes.get_yticklabels()]
    assert axes.get_title(loc="left") == "at n = 1, decay = bb"
    _, figure = _made(view, "slices", fixed={"g": [1.0], "decay": ["bb"]})
    figure.draw_without_rendering()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["1", "2", "3", "4"]


# ---------------------------------------------------------------------- the command line
def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("kind", WIDE)
def test_every_kind_is_drawn_and_comes_as_data(cli: Cli, wide: Path, tmp_path: Path, kind: str) -> None:
    done = cli("plot", "--workdir", wide, "--kind", kind, "-o", "a.png", "--data", "a.json", "--json")
    assert done.code == 0, done.err
    assert done.json["kind"] == kind
    assert done.json["data"] == str(tmp_path / "a.json")
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 300
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    head = {"protocol", "loop", "parameters", "constraints", "targets", "state", "digest", "seed", "evaluations"}
    assert head | {"reason", "kind", "tables"} <= set(document)
    assert document["kind"] == kind
    for table in document["tables"].values():
        assert len({len(column) for column in table.values()}) == 1
        assert next(iter(table.values()))
    assert cli("plot", "--workdir", wide, "--kind", kind, "-o", "a.csv").code == 0
    rows = _rows(tmp_path / "a.csv")
    first = next(iter(document["tables"].values()))
    assert list(rows[0]) == list(first)
    assert len(rows) == len(next(iter(first.values())))


def test_more_than_two_parameters_are_drawn_as_slices(cli: Cli, wide: Path, tmp_path: Path) -> None:
    done = cli("plot", "--workdir", wide, "--data", "a.json", "--slice", "n=2", "--slice", "decay=bb",
               "--target", "obs", "--json")  # fmt: skip
    assert (done.code, done.json["kind"]) == (0, "slices")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]  # asked for the numbers, there is no picture
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    (panel,) = document["maps"]
    assert panel["fixed"] == {"n": 2, "decay": "bb"}
    assert list(panel["targets"]) == ["obs"]
    assert len(panel["targets"]["obs"]["mean"]) == len(panel["axes"]["g"])
    assert set(document["tables"]["lines"]["target"]) == {"obs"}
    assert set(document["tables"]["lines"]["fixed.n"]) == {2}


def test_a_contour_in_two_dimensions_comes_as_data_too(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("plot", "--workdir", finished, "-o", "a.json").code == 0
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document["kind"] == "contour"
    assert set(document["tables"]["lines"]["x_name"]) == {"m_zp"}
    assert set(document["tables"]) == {"lines", "points"}
    assert cli("plot", "--workdir", finished, "--kind", "convergence", "-o", "b.csv").code == 0
    rows = _rows(tmp_path / "b.csv")
    assert [r["iteration"] for r in rows] == ["1", "2", "3"]
    assert float(rows[-1]["obs.emv"]) > 0
    assert float(rows[-1]["ask_s"]) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kind", "slice"), "E-PLOT-007 there is no plot slice (wide/wide). Did you mean 'slices'?"),
        (("--slice", "mx=3"), "E-PLOT-007 --slice mx=3 cannot be read: there is no such parameter"),
        (("--slice", "m_x"), "E-PLOT-007 --slice m_x cannot be read: it is no NAME=VALUE"),
        (("--slice", "n=two"), "E-PLOT-007 --slice n=two cannot be read: it is no number"),
        (("--slice", "n=9"), "E-PLOT-007 there is no slice at n = 9: it is outside of the space"),
        (("--slice", "n=1", "--slice", "g=1", "--slice", "m_x=900"), "E-PLOT-007 there is nothing to draw"),
        (("--kind", "contour"), "E-CONTOUR-001"),
        (("--style", "alice"), "E-PLOT-008 there is no style alice"),
        (("--data", "a.png"), "E-PLOT-004 a.png is no data"),
        (("--kind", "importance", "--movie", "a.gif"), "E-PLOT-007 there is no movie of the plot importance"),
        (("--kind", "pairs", "--target", "ob"), "E-PLOT-003"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    cli: Cli, wide: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = cli("plot", "--workdir", wide, *arguments)
    assert (done.code, len(done.lines)) == (4, 1)
    assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_style_without_its_library_is_one_clear_line(
    cli: Cli, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mplhep", None)
    done = cli("plot", "--workdir", wide, "--style", "atlas")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-EXTRA-001 mplhep is not there: --style atlas needs it")
    assert "pip install 'idds-core[hep]'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_style_of_an_experiment_changes_how_it_looks_and_nothing_else(
    cli: Cli, finished: Path, tmp_path: Path
) -> None:
    for style in ([], ["--style", "atlas"], ["--style", "cms"]):
        name = "-".join(["a", *style[1:]])
        assert cli("plot", "--workdir", finished, "-o", f"{name}.png", "--data", f"{name}.json", *style).code == 0
    assert len({(tmp_path / f"{n}.png").read_bytes() for n in ("a", "a-atlas", "a-cms")}) == 3
    assert len({(tmp_path / f"{n}.json").read_text(encoding="utf-8") for n in ("a", "a-atlas", "a-cms")}) == 1


def test_a_movie_of_slices_is_cut_at_the_same_places_in_all_frames(cli: Cli, wide: Path, tmp_path: Path) -> None:
    done = cli("plot", "--workdir", wide, "--slice", "decay=bb", "--movie", "a.gif", "--json")
    assert done.code == 0
    with Image.open(tmp_path / "a.gif") as movie:
        assert movie.n_frames == done.json["frames"] >= 3  # type: ignore[attr-defined]
        frames = []
        for i in range(done.json["frames"]):
            movie.seek(i)
            frames.append(movie.convert("L"))
    heads = [np.asarray(f, dtype=float)[50:75] for f in frames]  # where each panel is cut, in a few colours
    assert max(float(abs(head - heads[-1]).mean()) for head in heads) < 3
    assert len({f.tobytes() for f in frames}) == len(frames)


def test_a_result_draws_them_too(wide: Path, tmp_path: Path) -> None:
    result = open_result(wide)
    result.plot(tmp_path / "a.svg", "obs", kind="slices", at={"n": 1, "decay": ["bb", "tautau"]})
    assert "at n = 1, decay = tautau" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    result.plot(tmp_path / "a.csv", kind="importance")
    rows = _rows(tmp_path / "a.csv")
    assert {r["parameter"] for r in rows} == {"m_x", "g", "n", "decay"}
    assert sum(float(r["importance"]) for r in rows if r["target"] == "obs") == pytest.approx(1.0)
    with pytest.raises(IddsError, match=r"E-PLOT-007 .*there is no slice at n = 99"):
        result.plot(tmp_path / "b.png", at={"n": 99})


# ---------------------------------------------------------------------- the report
def test_the_report_of_many_parameters_has_slices_by_iteration_and_what_matters(
    cli: Cli, wide: Path, tmp_path: Path
) -> None:
    assert cli("report", "--workdir", wide, "-o", "r.html").code == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    assert "Each panel is a cut through point " in text
    assert text.count('<svg class="map') == 6
    assert text.count('data-frame="1"') == 12
    assert "Which parameters matter" in text
    assert "excluded, of the space" in text
    assert "it was chosen to refine the contour: " in text
    assert "What the learner took: ask (line) and fit (dashes) [s]" in text
