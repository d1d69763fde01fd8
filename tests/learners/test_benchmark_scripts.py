"""Every benchmark script is asked in the same way and answers in the same way."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.script import finish, parser, start

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py") if "__main__" in p.read_text(encoding="utf-8"))
PEER = {"a peer": "no-such-package-anywhere", "a library": "numpy"}


def asked(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{script}", *words]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=one_thread)


def test_there_are_scripts_for_what_the_benchmarks_page_tells() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert {"engine", "levelset", "optimum", "pruning", "speed", "steady", "stopping", "warm"} <= set(SCRIPTS)
    assert [name for name in SCRIPTS if f"benchmarks.{name}" not in page] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_takes_the_three_options_and_refuses_no_seeds(script: str) -> None:
    told = asked(script, "--help")
    assert told.returncode == 0, told.stderr
    assert all(option in told.stdout for option in ("--json", "--quick", "--seeds N"))
    refused = asked(script, "--seeds", "0")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "0 is below 1" in refused.stderr


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("optimum", ["--tasks", "branin", "--methods", "ours", "optuna TPE", "--evaluations", "12", "--batches", "4"]),
        ("levelset", ["--problem", "monoH2e", "--method", "ours", "--method", "grid"]),
    ],
)
def test_standard_output_is_one_json_object_that_names_the_peers(script: str, words: list[str]) -> None:
    done = asked(script, *words, "--seeds", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seeds"] == 1
    assert {"quick", "peers", "not_installed"} <= set(found)
    assert done.stderr.startswith("peers: ")


def options(*words: str) -> Any:
    return parser("A script.", seeds=10, quick="half of it").parse_args([*words])


def test_a_peer_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    figures = start(options(), PEER)
    assert list(figures["peers"]) == ["numpy"]
    assert figures["not_installed"] == {"a peer": "no-such-package-anywhere"}
    said = capsys.readouterr()
    assert said.out == ""
    assert "a peer is left out: no-such-package-anywhere is not installed" in said.err


def test_a_quick_run_takes_one_seed_unless_told_otherwise() -> None:
    assert start(options("--quick"))["seeds"] == 1
    assert start(options("--quick", "--seeds", "3"))["seeds"] == 3
    assert start(options())["seeds"] == 10


def test_a_run_that_never_got_there_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(options("--json"), {"n": (1.0, float("inf"))}, print) == 0
    assert json.loads(capsys.readouterr().out) == {"n": [1.0, None]}
