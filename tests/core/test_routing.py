from __future__ import annotations

import pytest

from idds_core.model import Requirements, Step
from idds_core.ports import Capabilities
from idds_core.routing import route

FUNCTION = Step("fit", function="scan:fit")


@pytest.mark.parametrize(
    ("step", "can", "reason"),
    [
        (FUNCTION, Capabilities(slots=1), ""),
        (FUNCTION, Capabilities(slots=1, functions=False), "no Python functions"),
        (Step("mc", run=("true",)), Capabilities(slots=1, commands=False), "no commands"),
        (Step("mc", run=("true",)), Capabilities(slots=1, functions=False), ""),
        (
            Step("fit", function="a:b", requires=Requirements(cores=8)),
            Capabilities(slots=4),
            "needs 8 cores, there are 4",
        ),
        (
            Step("fit", function="a:b", requires=Requirements(memory="4GB")),
            Capabilities(1, memory=2 * 10**9),
            "needs 4 GB",
        ),
        (Step("fit", function="a:b", requires=Requirements(memory="4GB")), Capabilities(1), ""),
        (Step("fit", function="a:b", provider="slurm | htcondor"), Capabilities(1), "asks for slurm | htcondor"),
        (Step("fit", function="a:b", provider="slurm|farm"), Capabilities(1), ""),
    ],
)
def test_a_provider_that_cannot_says_why(step: Step, can: Capabilities, reason: str) -> None:
    (found,) = route(step, {"farm": can})
    assert found.ok is (reason == "")
    assert reason in found.reason


def test_a_kind_of_provider_stands_for_all_its_sites_and_every_reason_is_given() -> None:
    step = Step("fit", function="a:b", provider="slurm", requires=Requirements(cores=4))
    found = route(step, {"slurm:perlmutter": Capabilities(64), "slurmish": Capabilities(2)})
    assert [r.ok for r in found] == [True, False]
    assert found[1].reason == "the step asks for slurm; it needs 4 cores, there are 2"
