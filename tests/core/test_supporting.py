"""What a loop asks beyond what its learner supports is refused when it is submitted."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from idds_core import Categorical, Loop, Real, Space, chain, command
from idds_core.definition import validate
from idds_core.errors import DefinitionError
from idds_core.history import History
from idds_core.ports import Proposal
from idds_core.supporting import Supports
from idds_learners import MaxPoints, Optimum

SPACE = Space(kind=Categorical(["a", "b"]), x=Real(0, 1, when="kind == 'a'"), constraints=["x < 0.9"])


@dataclass(frozen=True)
class Narrow:
    """It can do next to nothing."""

    objective: tuple[str, ...] = ("f",)
    supports: ClassVar[Supports] = Supports(("real",), 1, constraints=False, conditional=False, pending=False)

    def ask(self, history: History, n: int) -> Proposal:
        del history, n
        return Proposal(reason="nothing")


def loop(learner: Any, **more: Any) -> Loop:
    body = chain(command("measure", "./m.sh {x}", result="r.json"))
    return Loop("scan", more.pop("space", SPACE), body, learner, MaxPoints(9), targets=("f", "g"), **more)


def test_each_thing_that_is_not_supported_is_told_with_its_place() -> None:
    with pytest.raises(DefinitionError) as error:
        validate(loop(Narrow(("f", "g")), mode="steady"))
    told = {p.where: f"{p.what}: {p.why}" for p in error.value.problems}
    assert {p.code for p in error.value.problems} == {"E-LEARNER-021"}
    assert told == {
        "body.scan.space.kind": "Narrow does not support categorical parameters: kind is one; it takes real",
        "body.scan.space.constraints": "Narrow does not support constraints: x < 0.9",
        "body.scan.space": "Narrow does not support conditional parameters: x do not always apply",
        "body.scan.mode": "Narrow does not support steady mode: it cannot be asked while points are out",
        "body.scan.learner.objective": "Narrow does not support 2 objectives: it goes for 1 objective at most",
    }


def test_a_learner_that_can_do_it_is_accepted() -> None:
    assert validate(loop(Optimum(("f", "g")), mode="steady")).name == "scan"
    assert validate(loop(Narrow(), space=Space(x=Real(0, 1)))).name == "scan"
