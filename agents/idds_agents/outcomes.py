"""What a provider's report means for attempt, job and point. Pure functions: strict, and total."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idds_agents.catalog import LoopPlan
from idds_agents.points import with_shares
from idds_core.binding import BindingError, observe
from idds_core.history import Observation, strict_json
from idds_core.ports import Failure, JobReport, ReportState, Usage
from idds_core.states import AttemptState, FailureClass, JobState, PointState
from idds_core.store import Claim, Outcome

if TYPE_CHECKING:
    from idds_core.sealing import Seal

__all__ = ["HOLDS", "Caps", "abandoned", "failed", "outcome_of", "sealed"]

_BACK_OFF_MAX_S = 60.0
_USED_MAX = 1e15  # seconds or bytes
#: code of a failure -> why the loop is held until somebody has mended it: it is nobody's fault and burns no cap
HOLDS = {
    "E-JOB-DISK": "E-DISK-002 {}. Free some space, then 'resume'.",
    "E-JOB-CREDENTIALS": "E-SITE-001 {}. Renew the credentials, then 'resume'.",
    "E-JOB-QUOTA": "E-SITE-002 {}. Ask for more or wait for it, then 'resume'.",
}


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of what an attempt may cost: attempts that may end as INFRA, bytes of a result; the provider's pause."""

    infra_attempts: int = 10
    output_limit: int = 1_000_000
    back_off_s: float = 1.0
    seal: Seal | None = None


def outcome_of(claim: Claim, report: JobReport, plan: LoopPlan, now: float, caps: Caps) -> Outcome:
    """The outcome of an ended report. Output wins over status: a result that cannot be used is a failure."""
    report = _kept(report)
    if report.state is ReportState.SUCCEEDED:
        try:
            return _succeeded(claim, report, plan, caps)
        except BindingError as error:
            failure = Failure(FailureClass.USER, "E-JOB-RESULT", f"INVALID_RESULT: {error}", f"E-JOB-RESULT {error}")
            failure = _discreet(failure) if plan.is_blind(claim.step) else failure
            return failed(claim, failure, plan, now, caps, report)
    if report.state is ReportState.INFEASIBLE:
        return _infeasible(claim, report)
    if report.state is ReportState.PRUNED:
        why = report.failure.message if report.failure else "pruned"
        return Outcome(
            claim,
            AttemptState.CANCELLED,
            JobState.CANCELLED,
            PointState.PRUNED,
            reason=_text(why[:1000]) or "pruned by itself",
            usage=report.usage,
            node=report.node,
        )
    if report.state is ReportState.CANCELLED:
        return Outcome(claim, AttemptState.CANCELLED, JobState.CANCELLED, reason="cancelled", usage=report.usage)
    failure = report.failure or Failure(FailureClass.INFRA, "E-JOB-LOST", "the provider gave no reason")
    if plan.is_blind(claim.step):
        failure = _discreet(failure)
    return failed(claim, failure, plan, now, caps, report)


def _kept(report: JobReport) -> JobReport:
    """The report with what a store can keep: a usage that nobody can have used counts nothing."""
    used, node = report.usage, _text(report.node)
    sane = all(0 <= n < _USED_MAX for n in (used.wall_s, used.cpu_s, used.max_rss))
    return report if sane and node == report.node else replace(report, usage=used if sane else Usage(), node=node)


def _text(text: str) -> str:
    """Text as UTF-8 can say it: names of files need not be, and messages name them."""
    return text if text.isascii() and "\0" not in text else text.replace("\0", "?").encode("utf-8", "replace").decode()


def _succeeded(claim: Claim, report: JobReport, plan: LoopPlan, caps: Caps) -> Outcome:
    result, text = _checked(claim, report.result, caps)
    observation = None
    if plan.is_last(claim.step):
        observed = observe(result["values"], plan.loop.targets)
        if plan.wide:
            observed = with_shares(observed, plan, claim)
        observation = strict_json(observed.to_json())
        if plan.loop.blind and caps.seal is not None:
            observation, text = sealed(observed, result, plan.loop.blind, caps.seal)
    return Outcome(
        claim,
        AttemptState.SUCCEEDED,
        JobState.DONE,
        PointState.MEASURED if observation else None,
        result=text,
        observation=observation,
        usage=report.usage,
        node=report.node,
    )


def sealed(observed: Observation, result: Mapping[str, Any], blind: Sequence[str], seal: Seal) -> tuple[str, str]:
    """Texts of an observation and a result in which nobody sees the blind targets.

    Numbers beside the targets are sealed too, for they may tell as much; all but the shares of split steps.
    """
    kept = {k: v for k, v in observed.extras.items() if k.startswith("share_")}
    hidden = {
        "values": {k: v for k, v in observed.values.items() if k in blind},
        "sigmas": {k: v for k, v in observed.sigmas.items() if k in blind},
        "extras": {k: v for k, v in observed.extras.items() if k not in kept},
        "censored": {k: v for k, v in observed.censored.items() if k in blind},
    }
    shown = {
        "values": {k: v for k, v in observed.values.items() if k not in blind},
        "sigmas": {k: v for k, v in observed.sigmas.items() if k not in blind},
        "extras": kept,
        "censored": {k: v for k, v in observed.censored.items() if k not in blind},
        "sealed": seal.text(hidden),
    }
    return strict_json(shown), strict_json({"values": {}, "files": {}, "sealed": seal.text(result)})


def _discreet(failure: Failure) -> Failure:
    """A failure of a step that has seen sealed targets: its words may name them, so only the kind is kept."""
    kind = re.match(r"[A-Za-z_.]+", failure.message)
    message = f"{kind[0] if kind else failure.code} (the rest is sealed: this step sees blinded targets)"
    digest = hashlib.sha256((failure.signature or "").encode()).hexdigest()[:16]
    return replace(failure, message=message, signature=f"{failure.code} {digest}")


def _checked(claim: Claim, result: Mapping[str, Any] | None, caps: Caps) -> tuple[dict[str, Any], str]:
    """The values and files of a result that is this attempt's and this point's, and their text."""
    if not isinstance(result, Mapping):
        raise BindingError("there is no result")
    if result.get("key") != claim.attempt.key or result.get("digest") != claim.digest:
        raise BindingError(f"it is of {result.get('key')}, point {result.get('digest')}")
    values, files = result.get("values", {}), result.get("files", {})
    if not isinstance(values, Mapping) or not isinstance(files, Mapping):
        raise BindingError("it has no values")
    if not all(isinstance(file, Mapping) for file in files.values()):
        raise BindingError("it names files without saying which")
    checked = {"values": dict(values), "files": {k: dict(v) for k, v in files.items()}}
    return checked, _strict(checked, caps)


def _strict(result: Mapping[str, Any], caps: Caps) -> str:
    try:
        text = strict_json(result)
    except (TypeError, ValueError, RecursionError):
        bad = [k for k, v in result.get("values", {}).items() if not _is_strict(v)]
        raise BindingError(f"{', '.join(map(str, bad)) or 'a value'} is not finite or not JSON") from None
    if len(text) > caps.output_limit:
        raise BindingError(f"it has {len(text)} bytes, more than {caps.output_limit}")
    return text


def _is_strict(value: Any) -> bool:
    try:
        strict_json(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _infeasible(claim: Claim, report: JobReport) -> Outcome:
    why = str((report.result or {}).get("infeasible", "")) or (report.failure.message if report.failure else "")
    why = _text(why[:1000])
    text = strict_json({"values": {}, "files": {}, "infeasible": why})
    return Outcome(
        claim,
        AttemptState.SUCCEEDED,
        JobState.DONE,
        PointState.INFEASIBLE,
        result=text,
        reason=why,
        usage=report.usage,
        node=report.node,
    )


def failed(
    claim: Claim,
    failure: Failure,
    plan: LoopPlan,
    now: float,
    caps: Caps,
    report: JobReport | None = None,
    *,
    counts: bool = True,
) -> Outcome:
    """The outcome of a failure: another attempt while the cap of its class allows one.

    counts : False for what an engine's own restart has cost; it never burns a cap.
    """
    failure = replace(failure, message=_text(failure.message), signature=_text(failure.signature))
    retry = plan.step(claim.step).retry
    counts = counts and failure.code not in HOLDS
    infra = failure.class_ is FailureClass.INFRA
    state = AttemptState.LOST if failure.code == "E-JOB-LOST" else AttemptState.FAILED
    if failure.class_ is FailureClass.FATAL:
        again = False
    elif infra:
        again = not counts or claim.infra_failures + 1 < caps.infra_attempts
    else:
        again = claim.user_failures + 1 < retry.attempts
    wait = 0.0
    if again and counts:
        pause = caps.back_off_s * 2.0 ** (claim.infra_failures - 1) if claim.infra_failures else 0.0
        wait = min(pause, _BACK_OFF_MAX_S) if infra else retry.wait
    usage = {"usage": report.usage, "node": report.node} if report else {}
    return Outcome(
        claim,
        state,
        JobState.READY if again else JobState.FAILED,
        None if again else PointState.FAILED,
        failure=failure,
        reason=failure.message[:2000],
        not_before=now + wait if wait else 0.0,
        counts=counts,
        **usage,  # type: ignore[arg-type]
    )


def abandoned(claim: Claim, reason: str, now: float) -> Outcome:
    """The outcome of an attempt that never ran: the provider said later, or another copy had the claim."""
    return Outcome(
        claim,
        AttemptState.ABANDONED,
        JobState.READY,
        reason=reason,
        not_before=now + 1.0,
        counts=False,
        was=claim.attempt.state,
    )
