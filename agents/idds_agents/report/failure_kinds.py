"""What each kind of failure means for people: what has happened, and what happens next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from idds_core.states import FailureClass

__all__ = ["KINDS", "THEN", "explained"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A code of a failure: whose it is, what it means in plain words, and what happens next where that is special."""

    class_: FailureClass
    words: str
    then: str = ""


_USER, _INFRA, _FATAL = FailureClass.USER, FailureClass.INFRA, FailureClass.FATAL
_HELD = "the loop is held and no retry is burnt; mend it, then 'idds-core resume'"
_MORE = "it runs again as often as the step's retry says; raise the requirement of the step"

#: class -> what happens next
THEN: dict[str, str] = {
    _USER: "it runs again as often as the step's retry says, then the point is FAILED and the scan goes on without it",
    _INFRA: "it runs again by itself after a pause that grows, and burns none of the step's retries",
    _FATAL: "it never runs again as it is: mend what it needs, then 'idds-core retry', or the definition, then 'amend'",
}
#: code -> what it means
KINDS = {
    "E-JOB-LOST": Kind(_INFRA, "it vanished without a result: killed, or its machine is gone"),
    "E-JOB-PREEMPTED": Kind(_INFRA, "the site took its place away for somebody else"),
    "E-JOB-CREDENTIALS": Kind(_INFRA, "the site does not accept who we are", _HELD),
    "E-JOB-QUOTA": Kind(_INFRA, "what the site grants us is used up", _HELD),
    "E-JOB-DISK": Kind(_INFRA, "no space was left on the disk", _HELD),
    "E-JOB-DONE": Kind(_INFRA, "what it left at its end cannot be read"),
    "E-JOB-RUNNER": Kind(_INFRA, "the runner beside it failed, for its folder is gone or cannot be written"),
    "E-JOB-SUBMIT": Kind(_INFRA, "it could not be started: no processes or memory are left"),
    "E-JOB-EXIT": Kind(_USER, "the program ended with an exit code other than 0"),
    "E-JOB-RAISED": Kind(_USER, "the function of the step raised an error"),
    "E-JOB-RESULT": Kind(_USER, "its result cannot be used: a target is missing or no finite number"),
    "E-JOB-OUTPUT": Kind(_USER, "a file that it should have written is not there"),
    "E-JOB-WALLTIME": Kind(_USER, "it ran longer than the walltime of the step", _MORE),
    "E-JOB-OOM": Kind(_USER, "it used more memory than the step asks for", _MORE),
    "E-JOB-SIGNAL": Kind(_USER, "it was ended by a signal, as by a crash in native code"),
    "E-JOB-IMPORT": Kind(_FATAL, "the function of the step cannot be imported"),
    "E-JOB-BIND": Kind(_FATAL, "an argument of the step stands for nothing"),
    "E-JOB-START": Kind(_FATAL, "the program does not exist or may not be executed"),
    "E-JOB-REFUSED": Kind(_FATAL, "the provider refused it"),
}


def explained(kinds: Iterable[tuple[str, str, str]]) -> Sequence[tuple[str, str]]:
    """For each code of (code, class, path of an attempt), once: the code, and what it means for people.

    >>> explained([("E-JOB-EXIT", "USER", "a/1"), ("E-JOB-EXIT", "USER", "a/2"), ("ours-7", "INFRA", "b")])[1]
    ('ours-7', "it runs again by itself after a pause that grows, and burns none of the step's retries; \
'idds-core logs b'")
    """
    found: dict[str, str] = {}
    for code, class_, path in kinds:
        known = KINDS.get(code)
        then = known.then if known and known.then else THEN.get(class_, "")
        said = f"{known.words}; {then}" if known else then
        found.setdefault(code, f"{said}; 'idds-core logs {path}'")
    return list(found.items())
