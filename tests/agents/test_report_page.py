"""The report of a loop as one page: what is in it, that it asks nobody, that nothing in it is believed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.report import facts
from idds_agents.report.page import make_report
from idds_agents.report.reading import LoopView, decided_iterations, view_at
from idds_agents.report.svg import Scale, line_path
from idds_core.errors import IddsError
from idds_core.store import Attempt, Store
from tests.agents.cli_kit import Cli, Runs
from tests.agents.report_kit import opened

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def both(finished: Path) -> Iterator[tuple[Store, LoopView]]:
    store, view = opened(finished)
    yield store, view
    store.close()


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with concluded runs of a curve, of a cube without a map, and one that is held."""
    made = Runs(tmp_path_factory.mktemp("others"))
    ended = {name: made.run(name) for name in ("curve", "cube", "broken")}
    assert {name: process.wait().code for name, process in ended.items()} == {"curve": 0, "cube": 2, "broken": 3}
    yield made.folder
    made.close()


# ---------------------------------------------------------------------- the maps
def test_the_map_of_an_iteration_is_made_from_the_state_recorded_with_it(both: tuple[Store, LoopView]) -> None:
    view = both[1]
    numbers = decided_iterations(view)
    assert numbers == [1, 2, 3]
    for number in numbers:
        seen = view_at(view, number)
        record = view.history.iterations[number - 1]
        assert seen.surrogate is not None
        assert seen.surrogate.state == record.state  # type: ignore[attr-defined]
        kappa = {t: record.diagnostics["targets"][t]["kappa"] for t in ("obs", "exp")}
        assert seen.surrogate.kappa == pytest.approx(kappa)  # type: ignore[attr-defined]
        assert {p.iteration for p in seen.history.points} == set(range(1, number + 1))
    with pytest.raises(IddsError, match=r"E-REPORT-003 .*there are 1 to 3"):
        view_at(view, 4)


def test_there_is_a_frame_for_each_iteration_and_every_point(both: tuple[Store, LoopView]) -> None:
    store, view = both
    page = make_report(view, store)
    assert page.iterations == [1, 2, 3]
    assert {int(n) for n in re.findall(r'data-frame="(\d+)"', page.text)} == {1, 2, 3}
    assert page.text.count('class="point ') == len(view.history.points)
    for words in ("m_zp [GeV]", "m_a [GeV]", "not m_zp &gt; m_a + 125", "failed (", "infeasible (", "measured ("):
        assert words in page.text
    lines = re.findall(r'class="line c(\d)" data-of="(\w+)" d="([^"]*)"', page.text)
    assert [(colour, name) for colour, name, _ in lines] == [("0", "obs"), ("1", "exp")] * 3
    assert len({d for _, name, d in lines if name == "obs"}) == 3


def test_a_page_says_how_it_went(both: tuple[Store, LoopView]) -> None:
    store, view = both
    text = make_report(view, store).text
    for words in ("EXHAUSTED", "26 of 26 points", "goal 0.005 %", "Leave-one-out error", "Which parameters matter",
                  "ValueError", "E-JOB-RAISED", "level_set(targets=", "boundary_converged(tol=0.0001",
                  view.history.digest, "26 of 26</span>"):  # fmt: skip
        assert words in text, words


def test_the_policy_allows_only_our_own_style_and_script(both: tuple[Store, LoopView]) -> None:
    store, view = both
    text = make_report(view, store).text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; script-src 'sha256-")
    for tag, rule in (("<style>", "style-src"), ("<script>", "script-src")):
        body = text.split(tag, 1)[1].split("</", 1)[0]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in allowed
    assert not re.search(r"unsafe|https?:|url\((?!#)|@import|src=", text)
    assert not re.search(r'\sstyle="|\son\w+="', text)


def test_a_large_loop_is_a_small_page(large_page: Path) -> None:
    text = large_page.read_text(encoding="utf-8")
    assert {int(n) for n in re.findall(r'data-frame="(\d+)"', text)} == set(range(1, 41))
    assert text.count('class="point ') == 300
    assert large_page.stat().st_size < 2_000_000


# ---------------------------------------------------------------------- what is not believed
def test_what_jobs_and_people_wrote_is_text(
    both: tuple[Store, LoopView], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, view = both
    (known, *_) = store.jobs.failed_attempts(view.record.id)
    evil = dataclasses.replace(known, reason=EVIL, failure_code=EVIL, signature="other", path="evil/a/1")
    monkeypatch.setattr(store.jobs, "failed_attempts", lambda _: [evil])
    monkeypatch.setattr(facts, "tail", lambda _: EVIL)
    document = {**view.plan.document, "learner": {**view.plan.document["learner"]}, "note": EVIL}
    seen = dataclasses.replace(
        view,
        record=dataclasses.replace(view.record, reason=EVIL),
        plan=dataclasses.replace(view.plan, document=document),
    )
    text = make_report(seen, store).text
    assert text.count("<script") == 2  # the frames and our own
    assert "<img" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 4


def test_the_end_of_a_log_is_short_and_clean(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert facts.tail(log) == ""
    log.write_bytes(b"\x1b[31mred\x1b[0m \xff\x00end\n")
    assert facts.tail(log) == "red \N{REPLACEMENT CHARACTER}end"
    log.write_text("".join(f"line {i}\n" for i in range(100_000)), encoding="utf-8")
    lines = facts.tail(log).splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("[...]", "line 99960", "line 99999", 41)
    (tmp_path / "folder").mkdir()
    assert facts.tail(tmp_path / "folder") == ""


def test_failures_are_grouped_and_capped(both: tuple[Store, LoopView], tmp_path: Path) -> None:
    store, view = both
    known: Attempt = store.jobs.failed_attempts(view.record.id)[0]
    many = [
        dataclasses.replace(known, id=i, job_id=i // 2, signature=f"s{i % 60}", reason=f"error {i}")
        for i in range(1000)
    ]
    found = facts.failure_groups(many, tmp_path)
    assert found["attempts"] == 1000
    assert (len(found["groups"]), found["more"]) == (40, 20)
    assert sum(len(g["tails"]) for g in found["groups"]) == 30
    assert found["groups"][0]["count"] == 17


# ---------------------------------------------------------------------- the health of the map
@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"at_bounds": ["m_zp:low"], "loo_rmse": 0.38}, r"W-MODEL-002 .*of obs is unreliable: the length scale of m_zp "
         r"is at its lower bound, leave-one-out error 38 %"),
        ({"loo_rmse": 0.8}, "W-MODEL-003 .*leave-one-out error 80 %"),
        ({"loo_z2": 6.1, "kappa": 1.5}, r"W-MODEL-004 .*6.1 times what it expects; .* kappa 1.50"),
        ({"approximation_error": 1.7}, "W-MODEL-005 .*the mean moves by 1.70 sd"),
        ({"approximation_error": 0.3}, None),
        ({"at_bounds": ["variance:low"]}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_poor_map_is_warned_of(both: tuple[Store, LoopView], told: dict[str, object], says: str | None) -> None:
    store, view = both
    last = view.history.iterations[-1]
    good = {"at_bounds": [], "loo_rmse": 0.1, "loo_z2": 1.0, "kappa": 1.0, "lengthscales": {"m_zp": 0.02, "m_a": 1.0}}
    record = dataclasses.replace(last, diagnostics={**last.diagnostics, "targets": {"obs": {**good, **told}}})
    history = dataclasses.replace(view.history, iterations=(*view.history.iterations[:-1], record))
    seen = dataclasses.replace(view, history=history)
    page = make_report(seen, store)
    if says is None:
        assert page.warnings == []
    else:
        (line,) = page.warnings
        assert re.match(says, line)
        assert 'class="warning"' in page.text


def test_whatever_a_learner_says_of_itself_can_be_shown(both: tuple[Store, LoopView]) -> None:
    store, view = both
    odd = {"own": 3.0, "words": "<b>", "emv": "none", "targets": {"obs": "good", "exp": {"kappa": True}}, "list": [1]}
    records = tuple(dataclasses.replace(r, diagnostics=odd) for r in view.history.iterations)
    seen = dataclasses.replace(view, history=dataclasses.replace(view.history, iterations=records))
    text = make_report(seen, store).text
    assert "own by iteration" in text
    assert "<b>" not in text


# ---------------------------------------------------------------------- other spaces
def test_one_dimension_is_a_curve_with_its_band_and_level(others: Path) -> None:
    store, view = opened(others / "curve-run")
    page = make_report(view, store)
    store.close()
    assert page.iterations == [1, 2, 3]
    assert 'class="limit"' in page.text
    assert "Points that gave no value stand at the foot." in page.text


def test_a_loop_without_a_map_has_a_page(others: Path) -> None:
    store, view = opened(others / "broken-run")
    page = make_report(view, store)
    store.close()
    assert page.iterations == []
    assert "There is no map yet" in page.text
    assert 'id="slider"' not in page.text


def test_a_loop_in_three_dimensions_is_cut_by_iteration(others: Path) -> None:
    store, view = opened(others / "cube-run")
    page = make_report(view, store)
    store.close()
    assert page.iterations == [1]
    assert "Each panel is a cut through point " in page.text
    assert 'id="slider"' in page.text


def test_every_run_leaves_a_report(others: Path, finished: Path) -> None:
    for folder in (finished, *(others / f"{name}-run" for name in ("curve", "cube", "broken"))):
        assert (folder / "report.html").stat().st_size > 5_000


def test_a_report_that_fails_does_not_change_how_a_run_ends(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idds_agents.report import page

    def fail(*_: object) -> None:
        raise ZeroDivisionError("no paper")

    monkeypatch.setattr(page, "write_report", fail)
    done = cli("run", Runs(tmp_path).scan("cube"), "--quiet")
    assert done.code == 2
    assert "W-REPORT-002 the report was not written: ZeroDivisionError: no paper" in done.err
    assert not (tmp_path / "cube-run" / "report.html").exists()


# ---------------------------------------------------------------------- the verb
def test_report_writes_where_it_is_told(cli: Cli, finished: Path, tmp_path: Path) -> None:
    done = cli("report", "plane", "--workdir", finished, "-o", tmp_path / "a.html", "--json")
    assert done.code == 0
    assert set(done.json) == {"path", "file", "bytes", "evaluations", "iterations", "warnings"}
    assert done.json["bytes"] == (tmp_path / "a.html").stat().st_size
    assert done.json["iterations"] == [1, 2, 3]
    assert cli("report", "--workdir", finished).out == "report.html\n"
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "a.html").read_bytes()  # nothing of the moment in it
    assert "idds-core report monohbb" in cli("report", "--help").out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("-o", "a.pdf"), 4, "E-REPORT-004"),
        (("-o", "no/where.html"), 3, "E-FILE-020"),
        (("plain",), 4, "E-PATH-003"),
    ],
)
def test_report_refuses_what_it_cannot_do(
    cli: Cli, finished: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = cli("report", "--workdir", finished, *arguments)
    assert (done.code, len(done.lines)) == (code, 1)
    assert done.err.startswith(says)


# ---------------------------------------------------------------------- drawing
def test_a_path_is_rounded_relative_and_as_short_as_it_looks() -> None:
    import numpy as np

    straight = np.column_stack([np.linspace(0, 100, 500), np.linspace(0, 50, 500)])
    assert line_path(straight) == "M0 0l100 50"
    assert line_path(np.array([[0.0, 0.0], [-0.25, 10.5], [3.0, 10.5]]), closed=True) == "M0 0l-.2 10.5 3.2 0z"
    assert line_path(np.zeros((5, 2))) == ""
    assert line_path(np.zeros((1, 2))) == ""


def test_ticks_are_inside_and_read_well() -> None:
    assert [text for _, text in Scale(400, 2800, 0, 600).ticks()] == [
        "400",
        "800",
        "1200",
        "1600",
        "2000",
        "2400",
        "2800",
    ]
    assert [text for _, text in Scale(0.01, 1, 0, 600, log=True).ticks()] == ["0.01", "0.1", "1"]
    assert len(Scale(3.1, 3.9, 0, 600, log=True).ticks()) >= 3


def test_usage_adds_up_the_attempts_of_each_step(both: tuple[Store, LoopView], others: Path) -> None:
    store, view = both
    attempts = store.jobs.attempts([j.id for j in store.jobs.all(view.record.id)])
    (used,) = store.usage(view.record.id)
    assert (used.step, used.jobs, used.attempts) == ("measure", 26, len(attempts))
    assert used.failed == len(store.jobs.failed_attempts(view.record.id)) == 2 * used.retries
    assert used.wall_s == pytest.approx(sum(a.wall_s or 0.0 for a in attempts))
    assert used.max_rss == max(a.max_rss or 0 for a in attempts)
    curve, _ = opened(others / "curve-run")
    assert [u.step for u in curve.usage(1)] == ["count", "limit"]
    curve.close()
