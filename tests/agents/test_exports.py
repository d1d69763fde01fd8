"""What is taken away from a loop: tables in every format, HEPData, the surrogate."""

from __future__ import annotations

import builtins
import csv
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idds_agents.report.exports import Request, export_to
from idds_agents.report.points import points_table
from idds_agents.report.reading import LoopView, view_loop
from idds_core.errors import IddsError
from idds_core.history import History, Observation
from idds_core.space import Categorical, Real, Space
from idds_core.store import open_store
from tests.agents.cli_kit import Cli

ROOT = Path(__file__).resolve().parents[2]


def look(folder: Path) -> LoopView:
    store = open_store(folder / "idds.db", "read")
    try:
        return view_loop(store, folder, 1)
    finally:
        store.close()


@pytest.fixture
def view(finished: Path, monkeypatch: pytest.MonkeyPatch) -> LoopView:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return look(finished)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


# ---------------------------------------------------------------------- points
def test_the_points_have_everything_that_is_known_of_them(cli: Cli, finished: Path) -> None:
    rows = rows_of(cli("export", "plane", "--what", "points", "--workdir", finished).out)
    assert list(rows[0]) == ["number", "iteration", "state", "m_zp", "m_a", "obs", "obs_sigma", "exp", "exp_sigma",
                             "failure_class", "reason", "tops_up", "adds"]  # fmt: skip
    assert [int(r["number"]) for r in rows] == list(range(1, 27))
    shown = cli("show", "--workdir", finished, "--json").json["points"]
    assert {s: sum(r["state"] == s for r in rows) for s in shown} == shown
    measured = next(r for r in rows if r["state"] == "MEASURED")
    assert (measured["exp_sigma"], measured["obs_sigma"], measured["reason"]) == ("0.004", "", "")
    failed = next(r for r in rows if r["state"] == "FAILED")
    assert (failed["failure_class"], failed["obs"]) == ("USER", "")
    assert failed["reason"].startswith("ValueError: no ")
    assert failed["reason"].isprintable()
    assert next(r for r in rows if r["state"] == "INFEASIBLE")["reason"] == "too heavy"


def test_every_format_of_the_points_has_the_same_numbers(cli: Cli, finished: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    given = ("export", "--what", "points", "--workdir", finished)
    rows = rows_of(cli(*given).out)
    document = json.loads(cli(*given, "--format", "json").out)
    assert document["columns"][3] == {
        "name": "m_zp",
        "kind": "parameter",
        "of": "m_zp",
        "type": "number",
        "unit": "GeV",
    }
    assert cli(*given, "-o", tmp_path / "p.parquet").code == 0
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    assert table.schema.field("m_a").metadata[b"unit"] == b"GeV"
    assert json.loads(table.schema.metadata[b"idds"])["digest"] == document["digest"]
    for row, one, other in zip(rows, document["points"], table.to_pylist(), strict=True):
        assert one == other
        assert row == {k: "" if v is None else str(v) for k, v in one.items()}


def test_a_name_that_is_taken_gets_its_kind_in_front(view: LoopView) -> None:
    space = Space(state=Real(0, 1, unit="m"), kind=Categorical(("a", "b")))
    first = view.history.measured[0]
    point = dataclasses.replace(first, parameters={"state": 0.5, "kind": "b"},
                                observation=Observation({"y": 1.0}, {}, {"state": 2.0, "number": 3.0}))  # fmt: skip
    loop = dataclasses.replace(view.plan.loop, space=space)
    history = History(space, 0, ("y",), (point,))
    table = points_table(dataclasses.replace(view, plan=dataclasses.replace(view.plan, loop=loop), history=history))
    row = dict(zip(table.names, table.rows[0], strict=True))
    assert len(row) == len(table.names)
    assert (row["state"], row["parameter.state"], row["extra.state"], row["extra.number"]) == (
        "MEASURED",
        0.5,
        2.0,
        3.0,
    )
    assert (row["kind"], row["y"], row["y_sigma"]) == ("b", 1.0, None)


# ---------------------------------------------------------------------- the map
def test_the_map_is_that_of_predict_and_empty_where_nothing_is_allowed(
    cli: Cli, finished: Path, tmp_path: Path
) -> None:
    given = ("export", "--what", "map", "--grid", "21", "--workdir", finished)
    rows = rows_of(cli(*given).out)
    assert len(rows) == 21 * 21
    allowed = [r for r in rows if r["allowed"] == "1"]
    met = [r for r in rows if float(r["m_zp"]) > float(r["m_a"]) + 125]
    assert all(r in met for r in allowed)
    assert len(allowed) > 0.8 * len(met)  # the others probably cannot exist, as learnt
    assert {r["obs_mean"] for r in rows if r["allowed"] == "0"} == {""}
    file = tmp_path / "points.csv"
    file.write_text("m_zp,m_a\n" + "".join(f"{r['m_zp']},{r['m_a']}\n" for r in allowed), encoding="utf-8")
    for row, said in zip(allowed, rows_of(cli("predict", "--points", file, "--workdir", finished).out), strict=True):
        for name in ("obs_mean", "obs_sd", "exp_p_excluded"):
            assert float(row[name]) == pytest.approx(float(said[name]), rel=1e-9, abs=1e-300)
    document = json.loads(cli(*given, "--format", "json").out)
    assert [a["name"] for a in document["axes"]] == ["m_zp", "m_a"]
    flat = [v for line in document["map"]["obs"]["mean"] for v in line]
    assert [float(r["obs_mean"]) if r["obs_mean"] else None for r in rows] == flat


def test_contour_and_map_in_parquet_are_those_in_csv(cli: Cli, finished: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    for what in ("contour", "map"):
        given = ("export", "--what", what, "--grid", "31", "--workdir", finished)
        assert cli(*given, "-o", tmp_path / "x.parquet").code == 0
        table = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
        rows = rows_of(cli(*given).out)
        assert len(rows) == len(table)
        assert float(rows[7]["m_zp"]) == pytest.approx(table[7]["m_zp"], rel=1e-9)


# ---------------------------------------------------------------------- HEPData
def validated(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", VALIDATE, folder], capture_output=True, text=True, timeout=100)


#: in a process of its own: the validator leaves files open and uses what is deprecated
VALIDATE = """
import sys
from hepdata_validator.full_submission_validator import FullSubmissionValidator
validator = FullSubmissionValidator()
fine = validator.validate(directory=sys.argv[1])
print({name: [str(m) for m in found] for name, found in validator.get_messages().items()})
sys.exit(not fine)
"""


def test_the_submission_passes_hepdatas_validator(cli: Cli, finished: Path, tmp_path: Path) -> None:
    import yaml

    made = cli("export", "--format", "hepdata", "--workdir", finished, "--json")
    assert (made.code, made.err) == (0, "")
    folder = tmp_path / "plane-hepdata"
    assert sorted(made.json["files"]) == sorted(str(p) for p in folder.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plane-hepdata"]  # no archive beside it
    done = validated(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    head, *tables = yaml.safe_load_all((folder / "submission.yaml").read_text(encoding="utf-8"))
    shown = cli("show", "--workdir", finished, "--json").json
    assert shown["digest"] in head["comment"]
    names = [t["name"] for t in tables]
    for name in ("Contour obs", "Contour exp", "Contour exp plus 1 sd", "Excluded area", "Measured points"):
        assert name in names
    points = yaml.safe_load((folder / "measured_points.yaml").read_text(encoding="utf-8"))
    x = points["independent_variables"][0]
    assert x["header"] == {"name": "m_zp", "units": "GeV"}
    assert len(x["values"]) == shown["evaluations"]
    obs, exp = points["dependent_variables"]
    assert "errors" not in obs["values"][0]
    assert exp["values"][0]["errors"] == [{"symerror": 0.004, "label": "measurement"}]
    assert {"name": "level", "value": 0.05} in exp["qualifiers"]
    line = yaml.safe_load((folder / "contour_obs.yaml").read_text(encoding="utf-8"))
    rows = rows_of(cli("export", "--workdir", finished).out)
    central = [r for r in rows if (r["target"], r["curve"]) == ("obs", "central")]
    assert [v["value"] for v in line["dependent_variables"][0]["values"]] == [float(r["m_a"]) for r in central]
    (folder / "contour_obs.yaml").write_text("independent_variables: 3\n", encoding="utf-8")
    assert validated(folder).returncode == 1  # it does look


def test_the_excluded_area_is_that_of_the_map(view: LoopView, tmp_path: Path) -> None:
    import yaml

    from idds_agents.report.surface import need_surrogate, surface_of

    export_to(view, Request("hepdata"), tmp_path / "h")
    table = yaml.safe_load((tmp_path / "h" / "excluded_area.yaml").read_text(encoding="utf-8"))
    share, area = table["dependent_variables"]
    surface = surface_of(view.plan.loop.space, need_surrogate(view))
    for i, target in enumerate(("obs", "exp")):
        expected = surface.grid.excluded_share(target)
        assert share["values"][i]["value"] == pytest.approx(expected, rel=1e-6)
        error = share["values"][i]["errors"][0]["asymerror"]
        assert error["minus"] < 0 < error["plus"]
        allowed = 2400 * 1000 * float(np.mean(surface.grid.allowed))
        assert area["values"][i]["value"] == pytest.approx(expected * allowed, rel=0.02)
    assert area["header"]["units"] == "GeV^2"


def test_a_submission_without_a_map_has_the_points(view: LoopView, tmp_path: Path) -> None:
    flat = dataclasses.replace(view.plan, document={"learner": {"type": "sobol", "targets": []}})
    found = export_to(dataclasses.replace(view, plan=flat), Request("hepdata"), tmp_path / "h")
    assert [p.name for p in found] == ["measured_points.yaml", "submission.yaml"]
    empty = dataclasses.replace(view, history=dataclasses.replace(view.history, points=()))
    with pytest.raises(IddsError, match=r"E-EXPORT-004"):
        export_to(empty, Request("hepdata"), tmp_path / "g")
    assert not (tmp_path / "g").exists()


# ---------------------------------------------------------------------- the surrogate
def _documented() -> str:
    """The lines as a reader of the documentation finds them."""
    text = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_documented_lines_give_what_predict_gives(cli: Cli, finished: Path, tmp_path: Path) -> None:
    code = _documented()
    assert len([line for line in code.splitlines() if line]) <= 20
    folder = tmp_path / "surrogate"
    assert cli("export", "-o", folder, "--workdir", finished).code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "surrogate.json", "surrogate.npz"]
    document = json.loads((folder / "surrogate.json").read_text(encoding="utf-8"))
    assert document["code"] == code
    assert f"```python\n{code}```" in (folder / "README.md").read_text(encoding="utf-8")
    rng = np.random.default_rng(3)
    points = [{"m_zp": 400 + 2400 * a, "m_a": 200 + 1000 * b} for a, b in rng.random((100, 2)).tolist()]
    file = tmp_path / "points.csv"
    file.write_text("m_zp,m_a\n" + "".join(f"{p['m_zp']!r},{p['m_a']!r}\n" for p in points), encoding="utf-8")
    said = rows_of(cli("predict", "--points", file, "--workdir", finished).out)
    names: dict[str, Any] = {}
    exec(code, names)
    for target in ("obs", "exp"):
        mean, sd = names["evaluate"](folder, target, points)
        there = np.isfinite(mean)  # NaN where points probably cannot exist
        assert there.mean() > 0.8
        np.testing.assert_allclose(mean[there], np.array([float(r[f"{target}_mean"]) for r in said])[there], rtol=1e-9)
        np.testing.assert_allclose(sd[there], np.array([float(r[f"{target}_sd"]) for r in said])[there], rtol=1e-9)


def test_a_foreign_map_cannot_be_taken_away(view: LoopView, tmp_path: Path) -> None:
    class Foreign:
        targets = ("obs",)

        def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
            return {}

    foreign = dataclasses.replace(view)
    foreign.__dict__["surrogate"] = Foreign()
    with pytest.raises(IddsError, match="E-EXPORT-005"):
        export_to(foreign, Request("surrogate"), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- places and mistakes
def test_a_folder_of_an_export_is_written_again_and_no_other(cli: Cli, finished: Path, tmp_path: Path) -> None:
    given = ("export", "--workdir", finished, "--format", "hepdata", "-o", tmp_path / "h")
    assert cli(*given).code == 0
    (tmp_path / "h" / "contour_gone.yaml").write_text("old", encoding="utf-8")
    assert cli(*given).code == 0
    assert not (tmp_path / "h" / "contour_gone.yaml").exists()
    (tmp_path / "h" / "thesis.tex").write_text("years of work", encoding="utf-8")
    done = cli(*given)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-EXPORT-003")
    assert "thesis.tex" in done.err
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    assert cli("export", "--workdir", finished, "--format", "surrogate", "-o", file).code == 4
    assert file.read_text(encoding="utf-8") == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "h"]


def test_a_failure_half_way_leaves_the_old_folder(
    view: LoopView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s"
    export_to(view, Request("surrogate"), out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(IddsError, match=r"E-FILE-020 .*No space left"):
        export_to(view, Request("surrogate"), out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--format", "hepdat"), "E-EXPORT-001", "Did you mean 'hepdata'?"),
        (("-o", "x.root"), "E-EXPORT-001", "there is no format root"),
        (("--what", "pionts"), "E-EXPORT-002", "Did you mean 'points'?"),
        (("--format", "hepdata", "--what", "map"), "E-EXPORT-002", "Leave --what out"),
        (("--what", "map", "--grid", "1"), "E-USAGE-001", "--grid"),
    ],
)
def test_a_wrong_export_is_one_line(cli: Cli, finished: Path, arguments: tuple[str, ...], code: str, says: str) -> None:
    done = cli("export", "--workdir", finished, *arguments)
    assert (done.code, len(done.lines), done.out) == (4, 1, "")
    assert done.err.startswith(code)
    assert says in done.err


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [("pyarrow", ("--format", "parquet"), "data"), ("hepdata_lib", ("--format", "hepdata"), "hep")],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    cli: Cli, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, arguments: tuple[str, ...],
    extra: str,
) -> None:  # fmt: skip
    for name in [n for n in sys.modules if n.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    done = cli("export", "--workdir", finished, *arguments)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith(f"E-EXTRA-001 {module.replace('_', '-')} is not there")
    assert f"pip install 'idds-core[{extra}]'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_loop_without_lines_still_has_its_points(cli: Cli, runs: Any, tmp_path: Path) -> None:
    assert runs.run("cube").wait().code == 2
    done = cli("export", "cube")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-CONTOUR-001")
    assert len(rows_of(cli("export", "cube", "--what", "points").out)) == 6
    assert cli("export", "cube", "--format", "hepdata").code == 0
    assert cli("export", "cube", "--format", "surrogate").code == 0


# ---------------------------------------------------------------------- what may be seen


def test_export_help_has_an_example(cli: Cli) -> None:
    for verb in ("export", "get"):
        done = cli(verb, "--help")
        assert done.code == 0
        assert f"Example: idds-core {verb} monohbb" in " ".join(done.out.split())
    assert builtins.open is open
