"""What running jobs say: written down, and held against the loop's rule to prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idds_agents.catalog import Catalog
from idds_core.plugins import PRUNERS, build
from idds_core.ports import Heard, Provider, Pruner
from idds_core.states import AttemptState, JobState, LoopState, PointState
from idds_core.store import Claim, Outcome, Store

__all__ = ["Listener"]

_PROGRESS_S = 1.0  # a display wants to know; nobody needs a commit for each word


@dataclass
class _Told:
    """What a job has reported, and what the rule said of it.

    asked : up to which report the rule was asked. decided : why to prune, and the report that decided.
    """

    reports: dict[int, float] = field(default_factory=dict)
    asked: int = 0
    decided: tuple[str, tuple[int, float]] | None = None


class Listener:
    """Hears the jobs of a provider.

    A rule compares with the points of earlier iterations only, and is asked for each report in turn; so what it decides
    depends on what was measured, not on when who heard it, and a crash changes nothing. A job that was faster than the
    decision is pruned all the same.
    """

    def __init__(self, store: Store, provider: Provider, catalog: Catalog, actor: str) -> None:
        self._store = store
        self._provider: Any = provider
        self._catalog = catalog
        self._actor = actor
        self._rules: dict[int, Pruner | None] = {}
        self._told: dict[int, _Told] = {}  # job -> what it told, in loops with a rule
        self._others: dict[tuple[int, str], tuple[int, Sequence[Sequence[tuple[int, float]]]]] = {}
        self._reports: list[tuple[Claim, tuple[tuple[int, float], ...]]] = []  # heard, not on record yet
        self._progress: dict[int, tuple[float, str]] = {}
        self._noted = float("-inf")
        self._handles: dict[int, str] = {}  # job -> handle, of those that reported
        self._to_prune: dict[str, str] = {}

    @property
    def due(self) -> bool:
        """Whether there is something to write now."""
        return bool(self._reports) or (bool(self._progress) and self._store.now() - self._noted >= _PROGRESS_S)

    # ------------------------------------------------------------------ hearing
    def hear(self, running: Mapping[str, Claim]) -> None:
        """Ask the provider what its jobs have said."""
        ask = getattr(self._provider, "heard", None)
        news: Sequence[Heard] = ask() if ask is not None else ()
        for heard in news:
            claim = running.get(heard.handle)
            if claim is None:
                continue
            if self._catalog.plan(claim.loop_id).is_blind(claim.step):  # its words may name what is sealed
                if heard.progress is not None:
                    self._progress[claim.attempt.id] = (heard.progress[0], "")
                continue
            if heard.reports:
                self._reports.append((claim, heard.reports))
                self._handles[claim.job_id] = heard.handle
            if heard.progress is not None:
                self._progress[claim.attempt.id] = heard.progress

    def recall(self, running: Mapping[str, Claim]) -> None:
        """After a crash: these were found again; what was decided of them is decided again."""
        for handle, claim in running.items():
            if self._rule(claim.loop_id) is not None:
                self._handles[claim.job_id] = handle
                self._decide(claim)

    def write(self) -> None:
        """Write what was heard, and ask the rules; in a transaction of the caller."""
        heard, self._reports = self._reports, []
        if heard:
            rows = [(claim.job_id, step, value) for claim, reports in heard for step, value in reports]
            self._store.reports.add(rows)
        if self._progress:
            self._noted = self._store.now()
            progress, self._progress = self._progress, {}
            self._store.reports.note(progress)
        for claim, reports in heard:
            if self._rule(claim.loop_id) is not None:
                told = self._of(claim)
                for step, value in reports:
                    told.reports.setdefault(step, value)
                self._decide(claim)

    def act(self) -> None:
        """Ask the provider to end what is to be pruned; after the commit."""
        reasons, self._to_prune = self._to_prune, {}
        prune = getattr(self._provider, "prune", None)
        if reasons and prune is not None:
            prune(reasons)
        elif reasons:
            self._provider.cancel(list(reasons))

    # ------------------------------------------------------------------ deciding
    def _rule(self, loop_id: int) -> Pruner | None:
        if loop_id not in self._rules:
            document = self._catalog.plan(loop_id).document.get("prune")
            self._rules[loop_id] = build(document, PRUNERS) if document else None
        return self._rules[loop_id]

    def _of(self, claim: Claim) -> _Told:
        told = self._told.get(claim.job_id)
        if told is None:
            known = self._store.reports.of_jobs([claim.job_id]).get(claim.job_id, ())
            told = self._told[claim.job_id] = _Told(dict(known))
        return told

    def _compared(self, claim: Claim) -> Sequence[Sequence[tuple[int, float]]]:
        iteration = self._store.reports.iteration(claim.point_id)
        key = (claim.loop_id, claim.step)
        known = self._others.get(key)
        if known is None or known[0] != iteration:
            known = self._others[key] = (iteration, self._store.reports.before(*key, iteration))
        return known[1]

    def _decide(self, claim: Claim) -> tuple[str, tuple[int, float]] | None:
        """What the rule says of a job, asked once for each report."""
        rule, told = self._rule(claim.loop_id), self._of(claim)
        own = sorted(told.reports.items())
        if rule is None or told.decided is not None or told.asked >= len(own):
            return told.decided
        others = self._compared(claim)
        for count in range(told.asked + 1, len(own) + 1):
            told.asked = count
            try:
                reason = rule.check(own[:count], others)
            except Exception as error:  # noqa: BLE001 - a rule may be anybody's
                self._trouble(claim, error)
                return None
            if reason:
                told.decided = (str(reason)[:500], own[count - 1])
                if claim.job_id in self._handles:
                    self._to_prune[self._handles[claim.job_id]] = told.decided[0]
                break
        return told.decided

    def _trouble(self, claim: Claim, error: Exception) -> None:
        loop = self._store.workflows.loop(claim.loop_id)
        if loop.state is LoopState.ACTIVE:
            reason = (
                f"E-PRUNE-001 the rule to prune failed: {type(error).__name__}: {str(error)[:300]} "
                f"({claim.attempt.path}). Mend it, then begin anew with --fresh."
            )
            self._store.workflows.move_loop(loop, LoopState.HELD, reason, self._actor)

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome in the light of the rule: what it has decided holds, however the job ended."""
        claim = outcome.claim
        if self._rule(claim.loop_id) is None and outcome.point_state != PointState.PRUNED:
            return outcome
        decided, told = self._decide(claim), self._of(claim)
        self._told.pop(claim.job_id, None)
        self._to_prune.pop(self._handles.pop(claim.job_id, ""), None)
        if decided is None:
            if outcome.point_state != PointState.PRUNED or not told.reports:
                return outcome
            decided = (outcome.reason, max(told.reports.items()))
        if outcome.result is not None:
            self._store.jobs.keep_late([outcome])
        return Outcome(
            claim,
            AttemptState.CANCELLED,
            JobState.CANCELLED,
            PointState.PRUNED,
            reason=decided[0],
            usage=outcome.usage,
            node=outcome.node,
            cores=outcome.cores,
            was=outcome.was,
            last_report=self._store.reports.text(decided[1]),
        )
