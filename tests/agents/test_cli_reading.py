"""The verbs that look at a run, on one that has concluded."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli


def test_show_tells_all_that_people_and_scripts_ask_for(cli: Cli, finished: Path) -> None:
    done = cli("show", "plane", "--workdir", finished, "--json")
    assert done.code == 0
    shown = done.json
    assert shown["path"] == "plane/plane"
    assert (shown["state"], shown["wish"], shown["seed"]) == ("EXHAUSTED", "run", 0)
    assert shown["evaluations"] == shown["points"]["MEASURED"]
    assert sum(shown["points"].values()) == 26
    assert shown["iterations"] == len(shown["verdicts"])
    assert shown["verdicts"][-1]["verdict"] == "budget"
    assert shown["verdicts"][-1]["diagnostics"]["emv"] > 0
    assert shown["failures"] == {"USER": 2 * shown["points"]["FAILED"]}
    assert shown["failures_by_code"] == {"E-JOB-RAISED": 2 * shown["points"]["FAILED"]}
    assert len(shown["digest"]) == 64
    assert shown["elapsed_s"] > 0
    assert shown["core_hours"] > 0
    first = shown["failed_attempts"][0]
    assert (first["class"], first["code"]) == ("USER", "E-JOB-RAISED")
    assert "ValueError: no" in Path(first["log"]).read_text(encoding="utf-8")


def test_show_for_people_has_the_same_facts(cli: Cli, finished: Path) -> None:
    out = cli("show", "--workdir", finished).out
    assert out.startswith("plane/plane  EXHAUSTED\n")
    assert "26 of 26 points" in out
    assert "\x1b" not in out


def test_show_counts_failures_by_kind_and_says_whose_they_are(cli: Cli, finished: Path) -> None:
    failed = cli("show", "--workdir", finished, "--json").json["failed_attempts"]
    out = cli("show", "--workdir", finished).out
    head, line, _, meant = out.splitlines()[-4:]
    assert head.split() == ["failed", "attempts", "of", "code", "the", "last", "one", "message"]
    assert line.split()[:3] == [str(len(failed)), "the", "step"]
    assert f"E-JOB-RAISED  {failed[-1]['path']}  ValueError: no luck" in line
    assert meant.startswith("E-JOB-RAISED: the function of the step raised an error; it runs again as often as ")
    assert meant.endswith(f"; 'idds-core logs {failed[-1]['path']}'")


def test_a_point_a_job_and_an_attempt_are_found_by_path(cli: Cli, finished: Path) -> None:
    listed = cli("ls", "plane/it/1", "--workdir", finished, "--json").json
    path = next(p["path"] for p in listed if p["state"] == "MEASURED")
    short = path.removeprefix("plane/")  # the loop is named as its workflow
    point = cli("show", short, "--workdir", finished, "--json").json
    assert set(point["parameters"]) == {"m_zp", "m_a"}
    assert set(point["observation"]["values"]) == {"obs", "exp"}
    job = cli("show", f"{path}/measure", "--workdir", finished, "--json").json
    assert job["path"] == f"{path}/measure/job/0"
    assert job == point["jobs"][0]
    without_iteration = path.replace("it/1/", "")
    attempt = cli("show", f"{without_iteration}/measure/job/0/a/1", "--workdir", finished, "--json").json
    assert attempt == job["attempts"][0]
    assert attempt["state"] == "SUCCEEDED"
    for one in ("plane/it/1", path, f"{path}/measure/job/0", f"{path}/measure/job/0/a/1"):
        assert cli("show", one, "--workdir", finished).code == 0


def test_ls_goes_down_step_by_step(cli: Cli, finished: Path) -> None:
    (workflow,) = cli("ls", "--workdir", finished, "--json").json
    assert workflow["path"] == "plane/plane"
    path = workflow["path"]
    for depth in ("/it/1", "/p/1", "/measure/job/0", "/a/1"):
        below = cli("ls", path, "--workdir", finished, "--json").json
        assert below[0]["path"].endswith(depth)
        assert below[0]["path"] in cli("ls", path, "--workdir", finished).out
        path = below[0]["path"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("plain", "Did you mean plane?"),
        ("plane/plan", "Did you mean plane?"),
        ("plane/it/99", "there are 1 to"),
        ("plane/it/1/p/26", "there are 1 to 10"),
        ("plane/it/1/p/1/mesure", "Did you mean measure?"),
        ("plane/it/1/p/1/measure/job/0/a/9", "there are 1 to 1"),
        ("plane/it/1/p/1/measure/job/7", "no job 7"),
        ("plane/it/one", "a number belongs after it/"),
        ("plane/p/1/measure/task/0", "'task' is not expected there"),
    ],
)
def test_a_wrong_path_is_one_line_that_helps(cli: Cli, finished: Path, path: str, says: str) -> None:
    done = cli("show", path, "--workdir", finished)
    assert done.code == 4
    (line,) = done.lines
    assert line.startswith("E-PATH-")
    assert says in line


def test_logs_of_failures_have_headers_and_no_terminal_codes_in_them(cli: Cli, finished: Path) -> None:
    failed = cli("show", "--workdir", finished, "--json").json["failed_attempts"]
    out = cli("logs", "plane", "--workdir", finished).out
    assert out.count("==> ") == len(failed)
    assert f"==> {failed[0]['path']}/log: E-JOB-RAISED ValueError: no luck <==" in out
    one = cli("logs", failed[0]["path"] + "/log", "--workdir", finished).out
    assert one.startswith("a \x1b[31mred\x1b[0m word\n")  # into a pipe as it is
    last = cli("logs", failed[0]["path"].removesuffix("/a/1"), "--workdir", finished, "--json").json
    assert [entry["path"] for entry in last] == [failed[1]["path"]]
    followed = cli("logs", "-f", failed[0]["path"], "--workdir", finished)
    assert followed.out == one


def test_logs_without_any_say_so(cli: Cli, finished: Path) -> None:
    assert cli("logs", "plane/it/1/p/1/measure", "--workdir", finished).code == 0
    done = cli("logs", "plane/it/1/p/1", "--workdir", finished)
    assert done.code == 4
    assert "no attempt below it has failed" in done.err


def test_why_of_what_has_concluded(cli: Cli, finished: Path) -> None:
    done = cli("why", "plane", "--workdir", finished)
    assert "it has concluded: 26 of 26 points" in done.out
    failed = cli("show", "--workdir", finished, "--json").json["failed_attempts"][0]["path"].rsplit("/job/", 1)[0]
    (job,) = cli("why", failed, "--workdir", finished, "--json").json["jobs"]
    assert job["state"] == "FAILED"
    assert "no luck" in job["because"]


def test_verify_counts_each_invariant(cli: Cli, finished: Path) -> None:
    found = cli("verify", "--deep", "--workdir", finished, "--json")
    assert found.code == 0
    assert found.json["fine"]
    assert set(found.json["invariants"].values()) == {0}
    assert "every file of a result has its checksum" in found.json["invariants"]
    assert cli("verify", "--workdir", finished).out.endswith("fine\n")


def test_doctor_has_a_line_for_everything(cli: Cli, finished: Path) -> None:
    done = cli("doctor", "--workdir", finished, "--json")
    checks = {f["check"]: f for f in done.json}
    assert {"Python", "SQLite", "dependencies", "folder", "fsync", "free disk", "file system", "store"} <= set(checks)
    assert {"engine", "cores", "BLAS threads", "clock"} <= set(checks)
    assert checks["store"]["level"] == "ok"
    assert done.code == (3 if any(f["level"] == "error" for f in done.json) else 0)
    assert "SQLite: " in cli("doctor").out


def test_doctor_names_a_damaged_store_and_how_to_mend_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "idds.db").write_bytes(b"this is no database" * 100)
    done = cli("doctor")
    assert done.code == 3
    assert "error    store: E-STORE-003" in done.out


# ---------------------------------------------------------------------- stores that cannot be read
def test_without_a_work_folder_there_is_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("show")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-WORKDIR-002")
    missing = cli("show", "--workdir", tmp_path / "nowhere")
    assert (missing.code, len(missing.lines)) == (4, 1)
    assert missing.err.startswith("E-STORE-006")


def test_the_only_run_folder_is_found_and_two_are_not_guessed_between(cli: Cli, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a-run").symlink_to(finished)
    assert cli("show").code == 0
    (tmp_path / "b-run").symlink_to(finished)
    done = cli("show")
    assert done.code == 4
    assert done.err.startswith("E-WORKDIR-003 there are 2 work folders here: a-run, b-run")


def test_among_several_run_folders_a_path_means_the_one_of_its_workflow(
    cli: Cli, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "plane-run").symlink_to(finished)
    (tmp_path / "other-run").symlink_to(finished)
    for path in ("plane", "plane/plane/it/1/p/1", "plane~1"):
        assert cli("show", path).code == 0, path
    assert cli("show", "nothing").err.startswith("E-WORKDIR-003")


@pytest.mark.parametrize("verb", ["show", "ls", "logs", "why", "hold", "plot", "export", "verify"])
def test_a_damaged_store_is_one_line(cli: Cli, tmp_path: Path, verb: str) -> None:
    (tmp_path / "idds.db").write_bytes(b"this is no database" * 100)
    done = cli(verb)
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-STORE-003")


def test_another_programs_database_is_refused(cli: Cli, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "idds.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    done = cli("show")
    assert (done.code, len(done.lines)) == (4, 1)


# ---------------------------------------------------------------------- usage and errors
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing command"),
        (("shw",), "Did you mean 'show'"),
        (("run",), "Missing argument"),
        (("run", "x.py", "--seeed", "1"), "No such option"),
        (("run", "x.py", "--slots", "many"), "--slots"),
        (("run", "x.py", "--slots", "0"), "--slots"),
        (("predict",), "--points"),
        (("show", "a", "b"), "unexpected extra argument"),
    ],
)
def test_usage_errors_are_one_line_and_exit_4(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    done = cli(*arguments)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-USAGE-001")
    assert says in done.err


def test_a_bug_is_one_line_with_the_traceback_in_a_file(
    cli: Cli, finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tempfile

    from idds_agents.cli import show

    def fail(*_: object, **__: object) -> int:
        raise ZeroDivisionError("sums")

    monkeypatch.setattr(show, "show", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = cli("show", "--workdir", finished)
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-BUG this should not have happened: ZeroDivisionError: sums")
    (file,) = tmp_path.glob("idds-core-*.traceback")
    assert str(file) in done.err
    assert "ZeroDivisionError" in file.read_text(encoding="utf-8")


def _process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "idds_agents", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_a_traceback_is_shown_when_asked_for(tmp_path: Path) -> None:
    done = _process("show", "--workdir", tmp_path, "--traceback")
    assert done.returncode == 4
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("E-STORE-006")


def test_a_reader_that_goes_away_is_no_error(finished: Path) -> None:
    command = f"{sys.executable} -m idds_agents export --workdir '{finished}' | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "target,curve,segment,m_zp,m_a\n"


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = "import sys; from idds_agents.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    for verb in ("run", "show", "ls", "logs", "why", "hold", "resume", "cancel", "plot", "predict", "export", "verify",
                 "doctor", "init", "validate", "plan", "schema", "convert"):  # fmt: skip
        assert f"\n  {verb} " in done.stdout
    loaded = set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert not loaded & {"numpy", "scipy", "sqlalchemy", "pydantic", "matplotlib", "rich", "idds_learners", "asyncio"}
    assert _process("--version").stdout.startswith("idds-core ")


# ---------------------------------------------------------------------- what is taken away
def test_export_writes_lines_and_everything_about_them(cli: Cli, finished: Path, tmp_path: Path) -> None:
    rows = list(csv.reader(cli("export", "plane", "--workdir", finished).out.splitlines()))
    assert rows[0] == ["target", "curve", "segment", "m_zp", "m_a"]
    assert {(r[0], r[1]) for r in rows[1:]} >= {(t, c) for t in ("obs", "exp") for c in ("central", "plus", "minus")}
    assert all(400 <= float(r[3]) <= 2800 and float(r[3]) > float(r[4]) + 125 - 15 for r in rows[1:])
    done = cli("export", "--workdir", finished, "-o", tmp_path / "c.json")
    assert done.code == 0
    document = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    shown = cli("show", "--workdir", finished, "--json").json
    assert document["digest"] == shown["digest"]
    assert document["level"] == {"obs": 0.05, "exp": 0.05}
    assert document["parameters"]["m_zp"]["unit"] == "GeV"
    assert len(document["points"]) == 26
    assert sum(len(line["points"]) for line in document["lines"]) == len(rows) - 1
    assert json.loads(cli("export", "--workdir", finished, "--format", "json").out) == document


def test_export_refuses_what_it_cannot_do(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("export", "--workdir", finished, "--format", "xml").code == 4
    done = cli("export", "--workdir", finished, "-o", tmp_path / "no" / "where.csv")
    assert (done.code, len(done.lines)) == (3, 1)


def test_predict_gives_the_surrogates_own_numbers_and_keeps_columns(cli: Cli, finished: Path, tmp_path: Path) -> None:
    from idds_agents.report.reading import view_loop
    from idds_core.store import open_store

    file = tmp_path / "points.csv"
    points = [{"m_zp": 600.0 + 20 * i, "m_a": 210.0 + 5 * i} for i in range(40)]
    lines = ["name,m_a,m_zp", *(f"p{i},{p['m_a']},{p['m_zp']}" for i, p in enumerate(points))]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = cli("predict", "plane", "--points", file, "--workdir", finished)
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert list(rows[0]) == ["name", "m_a", "m_zp", "obs_mean", "obs_sd", "obs_p_excluded", "exp_mean", "exp_sd",
                             "exp_p_excluded"]  # fmt: skip
    store = open_store(finished / "idds.db", "read")
    surrogate = view_loop(store, finished, 1).surrogate
    store.close()
    assert surrogate is not None
    expected = surrogate.predict(points)
    for i, row in enumerate(rows):
        assert row["name"] == f"p{i}"
        for target in ("obs", "exp"):
            for what in ("mean", "sd", "p_excluded"):
                assert float(row[f"{target}_{what}"]) == pytest.approx(float(getattr(expected[target], what)[i]), 1e-12)
    as_json = cli("predict", "plane", "--points", file, "--workdir", finished, "--json").json
    assert as_json[3]["obs_mean"] == float(rows[3]["obs_mean"])


def test_predict_warns_outside_the_space(cli: Cli, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("m_zp,m_a\n1000,300\n9000,300\n500,400\n", encoding="utf-8")
    done = cli("predict", "--points", file, "--workdir", finished)
    assert done.code == 0
    assert len(done.out.splitlines()) == 4
    (line,) = done.lines
    assert line.startswith("W-PREDICT-002 2 of 3 points are outside the space")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("m_zp,m_a\n", "has no points"),
        ("m_zp\n1000\n", "column m_a is missing"),
        ("m_zp,m_a\n1000,lots\n", "points.csv:2"),
        ("m_zp,m_a\n1000,300\n\n1000,nan\n", "points.csv:4"),
        ("m_zp,m_a\n1000,inf\n", "not finite"),
        ("m_zp,m_a\n1000\n", "a line has 1 values"),
        ("m_zp,m_a,m_a\n1,2,3\n", "is there twice"),
        ("m_zp,m_a,obs_sd\n1000,300,1\n", "column obs_sd is taken"),
        ('m_zp,m_a\n"1000,300\n', "is no CSV file"),
        ("\udcff\udcfe\x00", "is no CSV file"),
    ],
)
def test_a_bad_file_of_points_is_one_line(cli: Cli, finished: Path, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "points.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = cli("predict", "--points", file, "--workdir", finished)
    assert (done.code, len(done.lines), done.out) == (4, 1, "")
    assert done.err.startswith("E-PREDICT-001")
    assert says in done.err


def test_a_missing_file_of_points_is_one_line(cli: Cli, finished: Path) -> None:
    done = cli("predict", "--points", "nowhere.csv", "--workdir", finished)
    assert (done.code, len(done.lines)) == (4, 1)


def test_plot_writes_what_was_asked_for(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("plot", "plane", "--workdir", finished, "-o", tmp_path / "a.svg").out == f"{tmp_path / 'a.svg'}\n"
    assert "m_zp [GeV]" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert cli("plot", "--workdir", finished).out == "plane.png\n"
    assert (tmp_path / "plane.png").read_bytes().startswith(b"\x89PNG\r\n")
    shown = cli("plot", "--workdir", finished, "-o", "a.pdf", "--target", "exp", "--json").json
    assert shown["file"] == str(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.svg", "plane.png"]


def test_plot_refuses_what_it_cannot_do(cli: Cli, finished: Path) -> None:
    for arguments, code in ((("-o", "a.gif"), 4), (("--target", "obz"), 4), (("-o", "no/where.png"), 3)):
        done = cli("plot", "--workdir", finished, *arguments)
        assert (done.code, len(done.lines)) == (code, 1)
