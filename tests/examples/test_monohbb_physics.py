import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples.monohbb import scan
from idds_core import Context

Cls = Callable[..., tuple[float, float]]

ROOT = Path(__file__).parents[2]


def signal_at(m_zp: float, m_a: float, seed: int = 1, events: int = scan.EVENTS) -> tuple[list[float], list[float]]:
    return scan.select(**scan.simulate(np.random.default_rng(seed), m_zp, m_a, events))


def test_the_decay_is_closed_at_threshold_and_light_far_above_it() -> None:
    assert scan.velocity(525.0, 400.0) == 0
    assert scan.velocity(500.0, 400.0) == 0
    assert scan.velocity(1e6, 400.0) == pytest.approx(1, abs=1e-6)
    m_zp, m_a = 1000.0, 300.0
    momentum = m_zp / 2 * float(scan.velocity(m_zp, m_a))
    assert np.hypot(momentum, m_a) + np.hypot(momentum, scan.M_H) == pytest.approx(m_zp)  # energy is conserved


def test_weights_add_up_to_the_events_expected() -> None:
    events = scan.simulate(np.random.default_rng(0), 1500.0, 400.0, 100_000)
    produced = scan.cross_section(1500.0, 400.0) * scan.BR_BB * scan.LUMINOSITY
    assert 0.25 < events["weight"].sum() / produced < 0.42  # efficiencies only


def test_missing_momentum_is_harder_for_a_heavier_resonance() -> None:
    def mean(m_zp: float) -> float:
        events = scan.simulate(np.random.default_rng(0), m_zp, 300.0)
        return float(np.average(events["met"], weights=events["weight"]))

    assert mean(800.0) < mean(1400.0) < mean(2400.0) < 1200.0


def test_the_quoted_error_of_the_yields_is_their_scatter() -> None:
    yields, errors = zip(*(signal_at(1300.0, 650.0, seed) for seed in range(200)), strict=True)
    np.testing.assert_allclose(np.std(yields, axis=0), np.mean(errors, axis=0), rtol=0.25)


@pytest.mark.parametrize("point", [(700.0, 250.0), (1250.0, 490.0), (2000.0, 300.0), (2500.0, 900.0)])
def test_cls_agrees_with_the_closed_form(point: tuple[float, float], closed_form_cls: Cls) -> None:
    signal, _ = signal_at(*point)
    truth = closed_form_cls(signal, scan.BACKGROUND, scan.BACKGROUND_SIGMA, scan.OBSERVED)
    assert scan.cls(signal) == pytest.approx(truth, rel=0.01, abs=1e-6)


def test_cls_goes_to_one_smoothly_as_the_signal_vanishes() -> None:
    assert scan.cls([0, 0, 0, 0]) == (1, 1)
    shape = np.array([1.0, 2.0, 0.5, 0.1])
    found = np.array([scan.cls((shape * size).tolist()) for size in (1e-6, 1e-4, 1e-2, 0.1, 0.3, 1, 2, 4, 10)])
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) < 0).all()


def test_the_quoted_error_of_cls_is_its_scatter_over_seeds() -> None:
    found = np.array([scan.cls(signal_at(1250.0, 490.0, seed)[0]) for seed in range(24)])
    quoted = scan.limits(*signal_at(1250.0, 490.0))
    for column, target in enumerate(("obs", "exp")):
        assert 0.6 < found[:, column].std() / quoted[f"{target}_sigma"] < 1.6
        assert 0.001 < quoted[target] < 0.2  # near the contour, where the error matters


def test_the_contour_lies_inside_the_plane() -> None:
    def excluded(m_zp: float, m_a: float) -> tuple[bool, bool]:
        obs, exp = scan.cls(signal_at(m_zp, m_a)[0])
        return obs < 0.05, exp < 0.05

    inside = [(950.0, 220.0), (1100.0, 350.0), (1500.0, 450.0), (2200.0, 250.0)]
    outside = [(2750.0, 220.0), (2750.0, 1150.0), (1800.0, 1000.0), (1350.0, 1150.0), (800.0, 650.0), (700.0, 220.0)]
    assert [excluded(*p) for p in inside] == [(True, True)] * 4
    assert [excluded(*p) for p in outside] == [(False, False)] * 6


def test_observed_and_expected_differ_and_the_sign_depends_on_the_bin() -> None:
    soft, hard = scan.cls(signal_at(900.0, 280.0)[0]), scan.cls(signal_at(2300.0, 250.0)[0])
    assert soft[0] > soft[1]  # the excess at medium MET weakens the limit
    assert hard[0] < hard[1]  # the deficit at high MET strengthens it


def test_steps_make_the_observation_and_a_seed_repeats_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first, again, other = (
        scan.analyse(scan.generate(Context(folder, seed), 1500.0, 600.0))
        for folder, seed in zip(folders, (1, 1, 2), strict=True)
    )
    assert set(first) == {"obs", "exp", "obs_sigma", "exp_sigma"}
    assert first == again
    assert first != other


def test_importing_the_scan_file_loads_no_fitting_library() -> None:
    code = "import sys; from examples.monohbb import scan; print(*{'pyhf', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
