"""Scripts that commands start from the scan's own folder: they must be there, and be executable."""

from __future__ import annotations

from pathlib import Path

from idds_core.definition import Definition
from idds_core.errors import Problem, did_you_mean

__all__ = ["script_problems"]


def script_problems(definition: Definition, folder: Path) -> list[Problem]:
    """What is wrong with the scripts ``./name`` of a definition's steps.

    Parameters
    ----------
    definition : what starts them.
    folder : where the scan file lies.

    """
    found = []
    for place, step in definition.workflow.steps():
        run = step.run
        if not run or not run[0].startswith("./") or "{" in run[0]:
            continue
        where, file = f"{place}.run", folder / run[0]
        if not file.is_file():
            others = [f"./{f.name}" for f in folder.iterdir() if f.is_file()]
            fix = did_you_mean(run[0], others) or "Put it beside the scan file."
            found.append(Problem("E-SCRIPT-001", f"step {step.name} has no script {run[0]}", "", where, fix))
        elif not file.stat().st_mode & 0o100:
            what = f"{run[0]} of step {step.name} is not executable"
            found.append(Problem("E-SCRIPT-002", what, "", where, f"chmod +x {run[0]}"))
    return found
