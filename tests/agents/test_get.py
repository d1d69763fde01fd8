"""``get``: output files come whole, with their checksums, and nowhere else than into the folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli, Runs


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a scan with files; only ever read."""
    made = Runs(tmp_path_factory.mktemp("files"))
    done = made.run("curve").wait()
    made.close()
    assert done.code == 0, done.err
    return made.folder / "curve-run"


@pytest.fixture
def own(curve: Path, tmp_path: Path) -> Path:
    """A copy that may be changed; it was moved, so that the recorded places are somewhere else."""
    shutil.copytree(curve, tmp_path / "own" / "curve-run", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    return tmp_path / "own" / "curve-run"


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_job_comes_with_its_file_and_its_result(cli: Cli, curve: Path, tmp_path: Path) -> None:
    path = "curve/it/1/p/2/count/job/0"
    done = cli("get", path, "-o", tmp_path / "out", "--workdir", curve, "--json")
    assert (done.code, done.err) == (0, "")
    assert files(tmp_path / "out") == ["n.txt", "result.json"]
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["files"] == {"output": "n.txt"}
    assert result["attempt"] == "curve/curve/it/1/p/2/count/job/0/a/1"
    assert (tmp_path / "out" / "n.txt").read_bytes() == (curve / result["attempt"] / "n.txt").read_bytes()
    first = done.json["files"][0]
    assert set(done.json) == {"protocol", "path", "folder", "files", "missing"}
    assert first["sha256"] == hashlib.sha256((tmp_path / "out" / "n.txt").read_bytes()).hexdigest()
    assert (first["name"], first["path"]) == ("output", f"curve/{path}")


def test_folders_are_as_the_paths_below_what_was_asked_for(cli: Cli, curve: Path, tmp_path: Path) -> None:
    for path in ("curve/it/1/p/2", "curve/p/2"):
        done = cli("get", path, "-o", tmp_path / "out", "--workdir", curve)
        assert done.code == 0
        assert files(tmp_path / "out") == ["count/job/0/n.txt", "count/job/0/result.json", "limit/job/0/result.json"]
        assert len(done.out.splitlines()) == 3
    assert cli("get", "curve/it/1/p/2/limit", "--workdir", curve).code == 0  # named as its path
    assert files(tmp_path / "curve-it-1-p-2-limit") == ["job/0/result.json"]
    assert cli("get", "curve", "-o", tmp_path / "all", "--workdir", curve).code == 0
    assert "it/1/p/3/count/job/0/n.txt" in files(tmp_path / "all")
    values = json.loads((tmp_path / "all/it/1/p/3/limit/job/0/result.json").read_text(encoding="utf-8"))["values"]
    shown = cli("show", "curve/it/1/p/3", "--workdir", curve, "--json").json
    assert values == shown["observation"]["values"]


def test_a_work_folder_that_was_moved_is_no_obstacle_and_gaps_are_told(
    cli: Cli, curve: Path, own: Path, tmp_path: Path
) -> None:
    hidden = curve.with_name("hidden")
    curve.rename(hidden)  # the recorded places are gone
    try:
        place = own / "curve/curve/it/1/p"
        (place / "1/count/job/0/a/1/n.txt").unlink()
        (place / "2/count/job/0/a/1/n.txt").write_text("something else", encoding="utf-8")
        done = cli("get", "curve/it/1", "-o", tmp_path / "out", "--workdir", own, "--json")
    finally:
        hidden.rename(curve)
    assert done.code == 3
    gone, changed = done.json["missing"]
    assert (gone["path"], gone["name"], gone["expected"]) == ("curve/curve/it/1/p/1/count/job/0", "output", True)
    assert "is not there any more" in gone["why"]
    assert "has changed since the job ended" in changed["why"]
    found = files(tmp_path / "out")
    assert "p/3/count/job/0/n.txt" in found
    assert "p/2/count/job/0/n.txt" not in found
    assert not [f for f in found if Path(f).name.startswith(".")]


def test_jobs_without_a_result_are_told_and_are_no_error(cli: Cli, finished: Path, tmp_path: Path) -> None:
    done = cli("get", "plane", "-o", tmp_path / "out", "--workdir", finished)
    assert done.code == 0
    failed = cli("show", "--workdir", finished, "--json").json["points"]["FAILED"]
    assert len(done.lines) == failed
    assert "measure/job/0 result.json: it is FAILED: ValueError: no luck" in done.lines[0]
    one = done.lines[0].split()[1].rstrip(":")
    alone = cli("get", one, "-o", tmp_path / "none", "--workdir", finished)
    assert (alone.code, len(alone.lines)) == (3, 1)
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_outside_of_the_folder(cli: Cli, own: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out" / "p").mkdir(parents=True)
    (tmp_path / "out" / "p" / "1").symlink_to(elsewhere)
    done = cli("get", "curve/it/1", "-o", tmp_path / "out", "--workdir", own)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-GET-001")
    assert list(elsewhere.iterdir()) == []
    # a link in the place of a file is replaced, not followed
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "n.txt").symlink_to(victim)
    assert cli("get", "curve/it/1/p/2/count/job/0", "-o", tmp_path / "job", "--workdir", own).code == 0
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not (tmp_path / "job" / "n.txt").is_symlink()


@pytest.mark.parametrize(
    ("recorded", "taken", "name"),
    [
        ("/w/l/a/1/e.txt", set(), "e.txt"),
        ("/w/l/a/1/sub/e.txt", set(), "sub_e.txt"),
        ("/w/l/a/1/../../../etc/passwd", set(), "etc_passwd"),
        ("/w/l/a/1/.ssh", set(), "ssh"),
        ("/w/l/a/1/-rf", set(), "rf"),
        ("/w/l/a/1/a b\n\x1b[31m.txt", set(), "a_b___31m.txt"),
        ("/w/l/a/1/result.json", {"result.json"}, "out_result.json"),
        ("/w/l/a/1/RESULT.json", {"result.json"}, "out_RESULT.json"),
        ("/somewhere/else/big.root", set(), "big.root"),
        ("/w/l/a/1/..", set(), "out"),
    ],
)
def test_names_are_safe_and_never_the_same(recorded: str, taken: set[str], name: str) -> None:
    from idds_agents.report.fetch import _name

    assert _name("out", recorded, "l/a/1", taken) == name


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("curve/it/99",), "E-PATH-007"),
        (("curve/it/1/p/2/count/job/0/a/1",), "E-GET-002"),
        (("curve", "-o", "file"), "E-GET-003"),
        ((), "E-USAGE-001"),
    ],
)
def test_what_cannot_be_got_is_one_line(
    cli: Cli, curve: Path, tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = cli("get", *arguments, "--workdir", curve)
    assert (done.code, len(done.lines), done.out) == (4, 1, "")
    assert done.err.startswith(code)
