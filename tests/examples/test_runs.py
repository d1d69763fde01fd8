"""The examples, run as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from tests.examples.conftest import Cls

ROOT = Path(__file__).parents[2]


def idds(*arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    command = [sys.executable, "-m", "idds_agents", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert ran.returncode in codes, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("IDDS_DATA", ROOT.parent / "shared" / "data" / "1lbb"))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the 1Lbb tables are not in {folder}")
        pytest.skip(f"no 1Lbb tables in {folder}: name their folder with IDDS_DATA")
    return folder


def test_monohbb_runs_and_leaves_its_contour(tmp_path: Path) -> None:
    scan = ROOT / "examples" / "monohbb" / "scan.py"
    idds("run", scan, "--workdir", tmp_path, "--set", "max_points=18", "--seed", "3", "--quiet", codes=(2,))
    shown = json.loads(idds("show", "monohbb", "--workdir", tmp_path, "--json"))
    assert (shown["state"], shown["evaluations"], shown["iterations"]) == ("EXHAUSTED", 18, 2)
    assert shown["failures"] == {}
    for name in ("contour.png", "contour.svg", "contour.csv", "contour.json"):
        assert (tmp_path / name).stat().st_size > 500
    rows = list(csv.DictReader((tmp_path / "contour.csv").read_text().splitlines()))
    assert {row["target"] for row in rows} == {"obs", "exp"}
    points = json.loads((tmp_path / "contour.json").read_text())["points"]
    assert all(p["parameters"]["m_zp"] > p["parameters"]["m_a"] + 125 for p in points)
    assert all(p["observation"]["sigmas"]["obs"] > 0 for p in points)


def test_campaign_measures_every_point_with_its_share_and_shows_the_observed_limit_when_allowed(tmp_path: Path) -> None:
    scan = ROOT / "examples" / "campaign" / "scan.py"
    small = ("--set", "jobs=60", "--set", "events=3000", "--set", "max_points=14")
    idds("run", scan, "--workdir", tmp_path, *small, "--quiet", codes=(2,))
    shown = json.loads(idds("show", "campaign", "--workdir", tmp_path, "--json"))
    assert shown["points"] == {"MEASURED": 14}
    assert set(shown["failures_by_code"]) == {"E-JOB-RAISED"}
    columns = ("export", "campaign", "--what", "points", "--format", "json", "--workdir", tmp_path)
    points = json.loads(idds(*columns))["points"]
    shares = [p["share_generate"] for p in points]
    assert min(shares) >= 0.94
    assert min(shares) < 1
    assert all("exp" in p and "obs" not in p for p in points)
    idds("unblind", "campaign", "--reason", "the test", "--workdir", tmp_path)
    points = json.loads(idds(*columns))["points"]
    assert all(0 <= p["obs"] <= 1 for p in points)
    idds("verify", "--workdir", tmp_path)


def test_hpo_prunes_what_does_worse_and_keeps_what_it_last_said(tmp_path: Path) -> None:
    scan = ROOT / "examples" / "hpo" / "scan.py"
    idds("run", scan, "--workdir", tmp_path, "--set", "max_points=24", "--set", "trees=2", "--quiet", codes=(2,))
    shown = json.loads(idds("show", "hpo", "--workdir", tmp_path, "--json"))
    assert set(shown["points"]) == {"MEASURED", "PRUNED"}
    assert sum(shown["points"].values()) == 24
    (best,) = shown["best"]
    assert (best["target"], best["direction"]) == ("loss", "min")
    assert best["value"] < 0.2
    assert shown["failures"] == {}
    turns = [json.loads(idds("show", f"hpo/it/{i}", "--workdir", tmp_path, "--json"))["points"] for i in (2, 3)]
    pruned = [p for points in turns for p in points if p["state"] == "PRUNED"]
    assert pruned
    assert all(p["last_report"]["step"] >= 2 and p["observation"] is None for p in pruned)
    idds("replay", "hpo", "--workdir", tmp_path)
    idds("verify", "--workdir", tmp_path)


def test_a_learner_in_awk_finds_the_lowest_point(tmp_path: Path) -> None:
    scan = ROOT / "examples" / "other_language" / "scan.py"
    idds("run", scan, "--workdir", tmp_path, "--quiet", codes=(2,))
    shown = json.loads(idds("show", "lowest", "--workdir", tmp_path, "--json"))
    assert shown["best"][0]["value"] < 0.08
    idds("replay", "lowest", "--workdir", tmp_path)


def test_shell_runs_with_command_lines_only(tmp_path: Path) -> None:
    scan = ROOT / "examples" / "shell" / "scan.yaml"
    out = idds("run", scan, "--workdir", tmp_path, "--set", "events=400", "--quiet")
    assert "CONVERGED" in out
    contour = list(csv.DictReader((tmp_path / "contour.csv").read_text().splitlines()))
    assert {row["target"] for row in contour} == {"obs", "exp"}
    points = json.loads((tmp_path / "contour.json").read_text())["points"]
    for point in points:  # the script's own numbers, by a closed form
        m, g = point["parameters"]["m_zp"], point["parameters"]["coupling"]
        signal = point["observation"]["extras"]["signal"]
        assert signal == pytest.approx(500 * g**2 * np.exp(-(m - 400) / 500), rel=0.02)
        expected = 2 * norm.sf(signal / np.sqrt(12))
        assert point["observation"]["values"]["exp"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert "400 events for m_zp" in idds("logs", "shell/p/1/generate/job/0/a/1", "--workdir", tmp_path)
    assert not [f for f in scan.parent.iterdir() if f.suffix == ".py"]


def overlap(said: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """Intersection over union of two regions."""
    return float((said & truth).sum() / (said | truth).sum())


def test_onelbb_at_forty_evaluations_knows_the_real_exclusion(tmp_path: Path, data: Path, closed_form_cls: Cls) -> None:
    import onelbb_model

    scan = ROOT / "examples" / "onelbb" / "scan.py"
    settings = ["--set", f"data={data}", "--set", "max_points=40"]
    idds("run", scan, "--workdir", tmp_path, *settings, "--seed", "1", "--quiet", codes=(0, 2))
    table, counts = onelbb_model.signal(data), onelbb_model.counts(data)
    masses = np.random.default_rng(0).uniform([150, 0], [1000, 400], (1800, 2))
    masses = masses[masses[:, 0] > masses[:, 1] + 125]
    with (tmp_path / "dense.csv").open("w") as file:
        file.write("m_c1n2,m_n1\n" + "".join(f"{a!r},{b!r}\n" for a, b in masses.tolist()))
    truth = np.array(
        [closed_form_cls(y.tolist(), counts.expected, counts.uncertainty, counts.observed) for y in table.at(masses)]
    )
    dense = _excluded(tmp_path, tmp_path / "dense.csv")
    assert overlap(dense["obs"], truth[:, 0] < 0.05) > 0.91
    assert overlap(dense["exp"], truth[:, 1] < 0.05) > 0.94
    published = list(csv.DictReader((data / "signal_and_cls.csv").read_text().splitlines()))
    said = _excluded(tmp_path, data / "signal_and_cls.csv")
    for target, column, share in (("obs", "CLs_obs_full", 0.96), ("exp", "CLs_exp_med", 0.92)):
        full = np.array([float(row[column]) < 0.05 for row in published])
        assert float((said[target] == full).mean()) >= share


def _excluded(workdir: Path, points: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Whether the scan calls each row of a CSV file excluded, by target."""
    rows = list(csv.DictReader(idds("predict", "onelbb", "--workdir", workdir, "--points", points).splitlines()))
    return {t: np.array([float(row[f"{t}_p_excluded"]) > 0.5 for row in rows]) for t in ("obs", "exp")}
