"""Optimizers of others as learners, our learners as a generator, and a learner that is a command."""

import math
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idds_core.errors import IddsError
from idds_core.history import History, Observation
from idds_core.plugins import LEARNERS, build, describe
from idds_core.space import Categorical, Integer, Log, Ordered, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import play
from idds_learners import AskTell, CommandLearner, Gest, Optuna, Skopt, Sobol, replaying
from idds_learners.ask_tell import vocs_of
from idds_learners.optuna_sampler import SAMPLERS

PLANE = Space(x=Real(-5, 10), y=Real(0, 15))
MIXED = Space(kind=Categorical(["a", "b", "c"]), rate=Log(1e-4, 1, when="kind != 'c'"), n=Integer(1, 9),
              size=Ordered([8, 16, 32]), constraints=["n < 9"])  # fmt: skip
NUMBERS = Space(rate=Log(1e-4, 1), n=Integer(1, 9), size=Ordered([8, 16, 32]), constraints=["n < 9"])


def bowl(p: Mapping[str, Any]) -> float:
    return float((p["x"] - 3) ** 2 + (p["y"] - 5) ** 2)


def last(learner: Any, space: Space, value: Any, batches: tuple[int, ...] = (6, 4, 4), seed: int = 1) -> History:
    for history in play(learner, space, lambda _, p: value(p), seed=seed, batches=batches):  # noqa: B007
        pass
    return history


def mixed(p: Mapping[str, Any]) -> Any:
    if p["n"] == 7:
        return PointState.FAILED
    return Observation({"f": abs(math.log10(p["rate"]) + 2) + 0.1 * p["n"] + (p.get("kind") == "b") + p["size"] / 32})


# ---------------------------------------------------------------------- Optuna
@pytest.mark.parametrize("sampler", [*SAMPLERS])
def test_a_replayed_search_is_the_one_that_optuna_makes(sampler: str) -> None:
    """Batches, results in order: the same points as a study that never forgets."""
    import optuna

    if sampler == "gp":
        pytest.importorskip("torch", reason="Optuna's GP sampler needs torch: pip install torch")
    history = last(Optuna(sampler=sampler), PLANE, lambda p: Observation({"f": bowl(p)}), (4, 4, 4, 4, 4))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = {"tpe": optuna.samplers.TPESampler, "cmaes": optuna.samplers.CmaEsSampler,
            "nsga2": optuna.samplers.NSGAIISampler, "random": optuna.samplers.RandomSampler,
            "gp": optuna.samplers.GPSampler, "qmc": optuna.samplers.QMCSampler}[sampler]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them are called experimental
        study = optuna.create_study(sampler=made(seed=1))
    native = []
    for _ in range(5):
        trials = [study.ask() for _ in range(4)]
        points = [{"x": t.suggest_float("x", -5, 10), "y": t.suggest_float("y", 0, 15)} for t in trials]
        for trial, point in zip(trials, points, strict=True):
            study.tell(trial, bowl(point))
            native.append(bowl(point))
    assert history.values("f") == pytest.approx(native, rel=1e-9)
    assert history.values("f").min() == pytest.approx(study.best_value, rel=1e-9)  # replayed regret = native regret


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2"])
def test_a_cold_process_answers_as_a_warm_one(sampler: str) -> None:
    space = NUMBERS if sampler == "cmaes" else MIXED
    learner = Optuna(sampler=sampler)
    warm = last(learner, space, mixed)
    warm_next = learner.ask(warm, 4)
    replaying._MEMO.clear()
    assert learner.ask(warm, 4) == warm_next
    assert all(space.point_problem(p.parameters) == "" for p in warm.points)


def test_what_is_measured_elsewhere_is_learnt_from() -> None:
    from idds_core.history import Point

    known = tuple(Point(i, 0, p, PointState.MEASURED, Observation({"f": bowl(p)}))
                  for i, p in enumerate(Sobol().ask(History(PLANE), 30).points, 1))  # fmt: skip
    histories = list(play(Optuna(sampler="tpe"), PLANE, lambda _, p: Observation({"f": bowl(p)}), known=known,
                          batches=(10,)))  # fmt: skip
    late = [bowl(p.parameters) for p in histories[-1].points[30:]]
    assert float(np.median(late)) < float(np.median([bowl(p.parameters) for p in known]))


def test_several_objectives_go_to_a_sampler_that_can_have_them() -> None:
    learner = Optuna(("f", "g"), {"g": "max"}, sampler="nsga2")
    histories = play(learner, PLANE, lambda _, p: Observation({"f": bowl(p), "g": p["x"]}), batches=(6, 6),
                     targets=("f", "g"))  # fmt: skip
    *_, history = histories
    assert history.iterations[-1].diagnostics["front"] >= 1
    assert Optuna(sampler="cmaes").supports.objectives == 1
    assert "categorical" not in Optuna(sampler="cmaes").supports.kinds
    assert Optuna(sampler="best").problems() == ["sampler 'best' is none of tpe, gp, cmaes, nsga2, qmc, random"]


def test_a_small_space_is_gone_through_once_and_it_is_said() -> None:
    space = Space(n=Integer(1, 4), c=Categorical(["a", "b"]))
    history = last(Optuna(sampler="tpe"), space, lambda p: Observation({"f": float(p["n"])}), (3, 3, 3, 3))
    assert len(history.points) == 8
    assert Optuna(sampler="tpe").ask(history, 2).reason == "every point of the space has been proposed"


# ---------------------------------------------------------------------- scikit-optimize
@pytest.mark.parametrize("estimator", ["GP", "ET"])
def test_scikit_optimize_proposes_points_of_pythons_own_types(estimator: str) -> None:
    history = last(Skopt(estimator=estimator, first=6), MIXED, mixed, (6, 3))
    kinds = {name: {type(p.parameters[name]) for p in history.points} for name in MIXED.names}
    assert kinds == {"kind": {str}, "rate": {float}, "n": {int}, "size": {int}}
    assert all(MIXED.point_problem(p.parameters) == "" for p in history.points)
    again = Skopt(estimator=estimator, first=6)
    assert again.ask(history, 2) == again.ask(history, 2)


def test_what_does_not_work_with_scikit_optimize_is_told_at_the_door() -> None:
    assert Skopt(estimator="GBRT").problems() == [
        "estimator GBRT does not work with scikit-learn 1.9; use ET, RF or GP"
    ]
    assert len(Skopt(estimator="X", acquisition="Y", first=0).problems()) == 3
    assert not Skopt().supports.pending


# ---------------------------------------------------------------------- anybody's objects
def test_an_object_that_is_asked_and_told_is_a_learner() -> None:
    learner = AskTell(direction="max", make="tests.learners.generators:Walk", options={"width": 0.1})
    history = last(learner, PLANE, lambda p: Observation({"f": -bowl(p)}), (4,) * 12)
    assert history.values("f").max() > -1.0
    following = learner.ask(history, 4)
    replaying._MEMO.clear()
    assert learner.ask(history, 4) == following
    assert build(describe(learner, LEARNERS), LEARNERS) == learner


def test_an_object_that_cannot_be_found_is_told() -> None:
    assert AskTell(make="walk").problems() == ["make='walk' is not module:callable"]
    with pytest.raises(IddsError, match="E-LEARNER-022 no_such_module:Walk cannot be found"):
        AskTell(make="no_such_module:Walk").ask(History(PLANE, targets=("f",)), 1)


# ---------------------------------------------------------------------- gest-api
def test_a_generator_of_the_gest_api_is_a_learner() -> None:
    learner = Gest(make="tests.learners.generators:Halton", options={"skip": 3})
    history = last(learner, PLANE, lambda p: Observation({"f": bowl(p)}), (4, 4, 4))
    assert len(history.points) == 12
    following = learner.ask(history, 3)
    replaying._MEMO.clear()
    assert learner.ask(history, 3) == following
    assert not learner.supports.conditional


def test_a_space_becomes_variables_of_the_standard() -> None:
    vocs = vocs_of(NUMBERS, {"f": "min", "g": "max"})
    assert vocs.variables["rate"].domain == [1e-4, 1.0]
    assert set(vocs.variables["n"].values) == set(range(1, 10))
    assert [type(o).__name__ for o in vocs.objectives.values()] == ["MinimizeObjective", "MaximizeObjective"]


def test_our_learner_is_a_generator_of_the_standard() -> None:
    from gest_api.generator import Generator
    from gest_api.vocs import VOCS

    from idds_learners.gest_generator import LearnerGenerator

    vocs = VOCS(variables={"x": [-5.0, 10.0], "y": [0.0, 15.0], "n": {1, 2, 3}}, objectives={"f": "MAXIMIZE"},
                constants={"events": 100})  # fmt: skip
    made = LearnerGenerator(vocs, seed=2)
    assert isinstance(made, Generator)
    made.ingest([{"x": 9.0, "y": 14.0, "n": 3, "f": -117.0}])  # of somebody else's
    for size in (6, *[3] * 8):
        points = made.suggest(size)
        assert len(points) == size
        assert all(p["events"] == 100 for p in points)
        results = [{**p, "f": np.float64(-bowl(p) - (p["n"] - 2) ** 2)} for p in points]
        made.ingest(list(reversed(results[1:])))  # in any order, one of them late
        made.ingest([{**results[0], "f": math.nan} if size == 6 else results[0]])
    assert max(made.history.values("f")) > -0.5
    assert sum(p.state is PointState.FAILED for p in made.history.points) == 1
    assert made.history.pending == ()


LIBENSEMBLE = """
from gest_api.vocs import VOCS
from libensemble import Ensemble
from libensemble.alloc_funcs.start_only_persistent import only_persistent_gens
from libensemble.specs import AllocSpecs, ExitCriteria, GenSpecs, LibeSpecs, SimSpecs

from idds_learners.gest_generator import LearnerGenerator

vocs = VOCS(variables={"x": [-5.0, 10.0], "y": [0.0, 15.0]}, objectives={"f": "MINIMIZE"})
made = LearnerGenerator(vocs, seed=1)


def bowl(point):
    return {"f": (point["x"] - 3) ** 2 + (point["y"] - 5) ** 2}


if __name__ == "__main__":
    run = Ensemble(libE_specs=LibeSpecs(comms="threads", nworkers=2, disable_log_files=True))
    run.gen_specs = GenSpecs(generator=made, vocs=vocs, initial_batch_size=6, batch_size=3)
    run.sim_specs = SimSpecs(simulator=bowl, vocs=vocs)
    run.alloc_specs = AllocSpecs(alloc_f=only_persistent_gens)
    run.exit_criteria = ExitCriteria(sim_max=24)
    found, _, flag = run.run()
    print(flag, found["f"][found["sim_ended"]].min())
"""


def test_our_learner_finds_an_optimum_inside_libensemble(tmp_path: Path) -> None:
    (tmp_path / "ensemble.py").write_text(LIBENSEMBLE)
    done = subprocess.run([sys.executable, "ensemble.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    flag, lowest = done.stdout.split()[-2:]
    assert flag == "0"
    assert float(lowest) < 0.1


def test_a_generator_refuses_what_it_cannot_do() -> None:
    from gest_api.vocs import VOCS

    from idds_learners.gest_generator import LearnerGenerator

    bad = VOCS(variables={"x": [0.0, 1.0]}, objectives={"f": "MINIMIZE"}, constraints={"c": ["LESS_THAN", 0.0]})
    with pytest.raises(ValueError, match="constraints on outputs are not supported"):
        LearnerGenerator(bad)
    small = LearnerGenerator(VOCS(variables={"n": {1, 2}}, objectives={"f": "MINIMIZE"}))
    with pytest.raises(ValueError, match="2 of 3 points"):
        small.suggest(3)


# ---------------------------------------------------------------------- a command
AWK = f"awk -f {Path(__file__).parents[2] / 'examples/other_language/thirds.awk'}"


def test_a_learner_in_awk_finds_the_lowest_point() -> None:
    learner = CommandLearner(AWK, "f")
    history = last(learner, Space(x=Real(0, 10)), lambda p: Observation({"f": (p["x"] - 4) ** 2}), (4,) * 8)
    assert history.values("f").min() < 1e-3
    assert learner.ask(history, 4) == learner.ask(history, 4)
    assert build(describe(learner, LEARNERS), LEARNERS) == learner


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-command-here", "cannot be started"),
        ("sh -c 'echo broken >&2; exit 3'", "ended with exit code 3: broken"),
        ("true", "wrote 0 lines, not one"),
        ("echo no", "wrote no JSON"),
        ("echo '{\"pints\": []}'", "wrote no answer"),
        ("echo '{\"points\": [3]}'", "wrote no answer"),
    ],
)
def test_a_command_that_gives_no_answer_is_told(command: str, says: str) -> None:
    with pytest.raises(IddsError, match="E-LEARNER-023") as error:
        CommandLearner(command).ask(History(PLANE, targets=("f",)), 1)
    assert says in str(error.value)


def test_a_command_that_cannot_be_one_is_told_at_the_door() -> None:
    assert CommandLearner("").problems() == ["it has no command"]
    assert CommandLearner("awk 'x").problems() == ['command="awk \'x" cannot be split: No closing quotation']
    assert CommandLearner(["awk", "-f", "a.awk"], ["f"]).targets == ("f",)
