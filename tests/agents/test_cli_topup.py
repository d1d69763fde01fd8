"""``top-up`` as a user gives it: real jobs, files that go, what people are shown, and loops measured by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from idds_agents.cli.outputs import output_schema
from tests.agents.cli_kit import Cli
from tests.agents.test_by_hand import BENCH
from tests.agents.test_cli_campaign import attempts

SCAN = """
from pathlib import Path
from idds_core import File, Loop, Real, Space, chain, step
from idds_learners import LevelSet, MaxPoints

@step(split="100 events", keep="{keep}")
def generate(ctx, x, events, first_events) -> File:
    Path(ctx.file("n.txt")).write_text(f"{{events}} {{ctx.seed % 997}}")
    return ctx.file("n.txt")

@step(split="100 events")
def select(ctx, raw: File) -> File:
    Path(ctx.file("s.txt")).write_text(Path(raw).read_text())
    return ctx.file("s.txt")

@step
def analyse(x, parts: list[File]):
    rows = [Path(p).read_text().split() for p in parts]
    n = sum(int(events) for events, _ in rows)
    shift = sum(int(seed) for _, seed in rows) / 1e5
    return {{"z": x + shift, "z_sigma": n ** -0.5, "n": n}}

def define(events: int = 250, points: int = 6):
    return Loop("toy", space=Space(x=Real(0, 1)), body=chain(generate, select, analyse), first=3, batch=3,
                learner=LevelSet("z", level=0.5, transform="none"), until=MaxPoints(points),
                parameters={{"events": events}}, {more})
"""


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, *, keep: str = "always", more: str = "") -> Path:
    file = folder / "source" / "scan.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(SCAN.format(keep=keep, more=more), encoding="utf-8")
    return file


def observed(cli: Cli, path: str) -> Any:
    return cli("show", path, "--json").json["observation"]


def test_more_events_are_measured_and_told_everywhere(cli: Cli, scan: Path) -> None:
    cli("run", scan, "--quiet")
    asked = cli("top-up", "toy/it/2/p/5", "--set", "events=600", "--json")
    assert asked.code == 0
    assert set(asked.json) == {"path", "verb", "by", "answer", "workflow"}
    assert (asked.json["verb"], asked.json["workflow"]) == ("top-up", "toy~2")
    assert "p/5 gets 350 events more (600 in all) in the next iteration of toy~2" in asked.json["answer"]
    assert "nothing to do" in cli("top-up", "toy~2/toy/p/5", "--set", "events=600").out
    ended = cli("run", "toy", "--json").json
    assert ended["points"] == {"MEASURED": 7}
    assert attempts("toy~2") == {"generate": 4, "select": 4, "analyse": 1}
    new = cli("show", "toy~2/toy/p/7", "--json").json
    assert (new["adds"], new["replaced_by"]) == ({"to": 5, "more": {"events": 350}}, None)
    assert new["observation"]["extras"]["n"] == 600
    old = cli("show", "toy~2/toy/p/5", "--json").json
    assert (old["adds"], old["replaced_by"], old["observation"]["extras"]["n"]) == (None, 7, 250)
    assert "350 events more than p/5" in cli("show", "toy~2/toy/p/7").out
    assert "replaced by p/7" in cli("show", "toy~2/toy/it/2").out
    rows = cli("ls", "toy~2/toy/it/3", "--json").json
    for verb, document in (("show", new), ("show", old), ("ls", rows)):
        validate(document, output_schema(verb))
    assert [row["top_up"] for row in rows] == ["350 events more than p/5"]
    assert [row["evaluations"] for row in cli("ls", "--json").json] == [6, 6]
    assert cli("show", "--json").json["evaluations"] == 6
    assert cli("verify", "--deep").code == 0
    assert cli("replay", "toy", "--json").json["equal"] is True


def test_what_was_replaced_is_in_no_export_and_in_no_report(cli: Cli, scan: Path) -> None:
    cli("run", scan, "--quiet")
    cli("top-up", "toy/p/5", "--set", "events=600")
    cli("run", "toy", "--quiet")
    table = list(csv.DictReader(io.StringIO(cli("export", "toy", "--what", "points").out)))
    assert [row["number"] for row in table] == ["1", "2", "3", "4", "6", "7"]
    assert (table[-1]["tops_up"], table[-1]["adds"], table[0]["tops_up"]) == ("5", "350 events", "")
    document = json.loads(cli("export", "toy", "--what", "points", "--format", "json").out)
    assert document["points"][-1]["adds"] == "350 events"
    contour = json.loads(cli("export", "toy", "--format", "json").out)
    validate(contour, output_schema("export"))
    assert [p["number"] for p in contour["points"]] == [1, 2, 3, 4, 6, 7]
    cli("report", "toy", "-o", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    assert 'data-gone="3" hidden' in page
    assert "measured (6)" in page
    assert "MEASURED, replaced by p/7" in page


def test_a_replicate_is_seen_beside_the_first_measurement(cli: Cli, scan: Path) -> None:
    cli("run", scan, "--quiet")
    assert "2 replicates of p/5" in cli("top-up", "toy/it/2/p/5", "--replicates", "2").out
    cli("run", "toy", "--quiet")
    seen = [observed(cli, f"toy~2/toy/p/{n}")["values"]["z"] for n in (5, 7, 8)]
    assert len(set(seen)) == 3
    assert cli("show", "--json").json["evaluations"] == 8
    table = list(csv.DictReader(io.StringIO(cli("export", "toy", "--what", "points").out)))
    assert [(row["tops_up"], row["adds"]) for row in table[-2:]] == [("5", "replicate")] * 2
    assert "8 measured at the same parameters, 0 of them" in cli("compare", "toy~2", "toy~2").out
    assert cli("verify", "--deep").code == 0
    assert cli("replay", "toy", "--json").json["equal"] is True


def test_a_chunk_whose_files_are_gone_is_needed_by_nobody_when_the_next_step_has_its_own(
    cli: Cli, tmp_path: Path
) -> None:
    cli("run", written(tmp_path, keep="until_merged"), "--quiet")
    cli("top-up", "toy/p/5", "--set", "events=400")
    cli("run", "toy", "--quiet")
    assert attempts("toy~2") == {"generate": 2, "select": 2, "analyse": 1}
    assert observed(cli, "toy~2/toy/p/7")["extras"]["n"] == 400


def test_a_chunk_whose_file_is_gone_and_needed_runs_again_with_what_follows(cli: Cli, scan: Path) -> None:
    cli("run", scan, "--quiet")
    for gone in Path("toy-run").glob("toy/toy/it/2/p/5/select/job/1/a/1/s.txt"):
        gone.unlink()
    for gone in Path("toy-run").glob("toy/toy/it/2/p/5/generate/job/1/a/1/n.txt"):
        gone.unlink()
    cli("top-up", "toy/p/5", "--set", "events=400")
    cli("run", "toy", "--quiet")
    assert attempts("toy~2") == {"generate": 3, "select": 3, "analyse": 1}
    assert observed(cli, "toy~2/toy/p/7")["extras"]["n"] == 400
    assert cli("show", "toy~2/toy/p/7/generate/job/0", "--json").json["reason"].startswith("reused from toy/toy/it/2")


def test_a_top_up_of_a_blinded_point_stays_sealed(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    more = 'targets=("z", "n"), blind=("z",)'
    cli("run", written(tmp_path, more=more), "--quiet")
    cli("top-up", "toy/p/5", "--set", "events=400")
    cli("run", "toy", "--quiet")
    new = cli("show", "toy~2/toy/p/7", "--json").json
    assert new["adds"] == {"to": 5, "more": {"events": 150}}
    assert new["observation"]["values"] == {"n": 400.0}
    assert attempts("toy~2")["generate"] == 2


def test_a_point_that_a_person_measured_is_measured_by_a_person_again(cli: Cli, tmp_path: Path) -> None:
    bench = tmp_path / "bench.py"
    bench.write_text(BENCH, encoding="utf-8")
    points = cli("ask", bench, "--json").json["points"]
    cli("tell", points[0]["number"], "cls=0.2")
    assert "1 replicate of p/1" in cli("top-up", "bench/p/1").out
    assert cli("top-up", "bench/p/1", "--set", "events=5").err.startswith("E-TOPUP-004")
    assert cli("top-up", "bench/p/2").err.startswith("E-TOPUP-002")
    for point in points[1:]:
        cli("tell", point["number"], "cls=0.2")
    again = cli("ask", "bench", "--json").json["points"][0]
    assert again["parameters"] == points[0]["parameters"]
    cli("tell", again["number"], "cls=0.3")
    assert cli("show", f"bench/p/{again['number']}", "--json").json["adds"] == {"to": 1, "replicate": True}
    assert cli("verify").code == 0


def test_bad_input_is_one_line_and_writes_nothing(cli: Cli, scan: Path) -> None:
    cli("run", scan, "--quiet")
    for arguments, code in (
        (("toy",), "E-TOPUP-007"),
        (("toy/it/2",), "E-TOPUP-007"),
        (("toy/p/5/generate",), "E-TOPUP-007"),
        (("toy/p/5", "--set", "events=600", "--replicates", "2"), "E-TOPUP-007"),
        (("toy/p/99",), "E-PATH-007"),
        (("toy/p/5", "--set", "x=0.5"), "E-TOPUP-004"),
        (("toy/p/5", "--set", "events=100"), "E-TOPUP-004"),
        (("toy/p/5", "--set", "events"), "E-USAGE-002"),
    ):
        done = cli("top-up", *arguments)
        assert (done.code, len(done.lines)) == (4, 1), done.err
        assert done.err.startswith(code)
    assert len(cli("ls", "--json").json) == 1
