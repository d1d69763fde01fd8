"""The carrier: routes and submits ready jobs, polls, collects and checks results, writes observations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.checkpoints import Checkpoints, checkpoint_folder
from idds_agents.doubts import Doubts, Settled, told
from idds_agents.listener import Listener
from idds_agents.outcomes import Caps, abandoned, failed, outcome_of
from idds_agents.points import job_inputs, point_path
from idds_agents.trouble import hold_on_trouble, stopping
from idds_core.binding import BindingError, bind
from idds_core.errors import ProviderError
from idds_core.ports import Failure, Function, JobReport, JobSpec, Provider, ReportState, SubmissionStatus
from idds_core.sealing import Seal
from idds_core.settings import Settings
from idds_core.states import AttemptState, FailureClass, JobState, LoopState, Wish
from idds_core.store import Claim, LoopRecord, Outcome, Store

__all__ = ["LEASE_S", "Carrier"]

LEASE_S = 60.0
_log = logging.getLogger(__name__)


class Carrier:
    """One carrier for one provider.

    A step is four parts, so that an engine may put the writing ones of all agents into one commit: `poll` (asks the
    provider), `collect` (writes what it said), `claim` (writes intents), `dispatch` (submits what was claimed).
    """

    def __init__(
        self, store: Store, provider: Provider, catalog: Catalog, workdir: Path, settings: Settings, owner: str
    ) -> None:
        self._store = store
        self._provider = provider
        self._catalog = catalog
        self._workdir = workdir
        self._settings = settings
        self._caps = Caps(settings.infra_attempts, settings.output_limit, provider.capabilities.back_off_s)
        self._owner = owner
        self._running: dict[str, Claim] = {}  # handle -> claim
        self._doubts = Doubts(provider, store.now)
        self._claimed: list[Claim] = []  # intent is on record, the provider has not been asked
        self._acks: dict[int, str] = {}  # attempt -> handle, not on record yet
        self._reports: dict[str, JobReport] = {}
        self._outcomes: list[Outcome] = []  # ended without the provider
        self._cancelling: set[str] = set()
        self._forget: list[str] = []  # ended and on record
        self._unsealed: list[Claim] = []  # ended and on record, with what it left still open
        self._seal: Seal | None = None
        self._listener = Listener(store, provider, catalog, owner)
        self._checkpoints = Checkpoints(store, catalog, workdir)
        self.active = 0  # attempts that were at work when the provider was last asked
        self._lease_renewed = store.now()
        self.draining = False
        self._from_backup = (
            False  # what ran at the time of a backup has ended since, and its folder may have the result
        )

    @property
    def in_flight(self) -> int:
        """Attempts that have not ended."""
        return len(self._running) + len(self._claimed) + len(self._doubts)

    @property
    def ended_unwritten(self) -> bool:
        """Whether something has ended that is not on record yet."""
        return bool(self._outcomes or self._reports)

    def step(self) -> int:
        """All parts, each with a commit of its own."""
        self.poll()
        moved = self.collect()
        moved += self.claim()
        self.dispatch()
        return moved

    # ------------------------------------------------------------------ after a crash
    def recover(self, *, expired: bool = False) -> int:
        """Take over what another owner left: adopt what the provider has, send again what it never got.

        expired : only what its owner has not renewed for a lease, where it may be alive; else all there is.
        """
        if not expired:
            self._checkpoints.sweep()
        self._from_backup = self._store.audit.restored()
        with self._store.transaction():  # of two who see an expired lease, one takes it
            ours = {loop.id for loop in self._loops()}  # another workflow's jobs wait for its own engine
            if not expired:
                self._store.jobs.mend_pauses(ours)
            found = self._store.jobs.live(not_owner=self._owner, expired=expired)
            claims = [c for c in found if c.loop_id in ours]
            self._store.jobs.adopt([c.attempt.id for c in claims], self._owner, LEASE_S)
        if not claims:
            return 0
        for taken in (True, False):
            some = [c for c in claims if (c.attempt.state is not AttemptState.INTENT) is taken]
            self._doubts.raise_for(some, taken=taken, restarted=True)
        self._settle()
        with self._store.transaction():
            self._listener.recall(self._running)
        return len(claims)

    def _settle(self) -> None:
        """What the provider has goes on, what it never got is sent again, what it has no more is lost."""
        for settled in self._doubts.settle():
            claim = settled.claim
            if settled.handle is not None:
                self._running[settled.handle] = claim
                if not settled.taken:
                    self._acks[claim.attempt.id] = settled.handle
            elif settled.taken and not (self._from_backup and settled.restarted):
                self._lost(settled)
            elif self._store.workflows.loop(claim.loop_id).wish is Wish.CANCEL:
                self._outcomes.append(abandoned(claim, "the loop was cancelled", self._store.now()))
            else:
                self._claimed.append(claim)

    def _lost(self, settled: Settled) -> None:
        why = "it ended with the engine that ran it" if settled.restarted else "the provider lists it no more"
        gone = Failure(FailureClass.INFRA, "E-JOB-LOST", why)
        plan = self._catalog.plan(settled.claim.loop_id)
        outcome = failed(settled.claim, gone, plan, self._store.now(), self._caps, counts=not settled.restarted)
        self._outcomes.append(outcome)

    # ------------------------------------------------------------------ what has ended
    def poll(self) -> int:
        """Ask the provider about everything that runs; ask it to cancel what nobody wants any more."""
        self._settle()
        self._cancel_unwanted()
        self.active = 0
        if self._running:
            reports = self._asked()
            self._reports = {handle: r for handle, r in reports.items() if r.state.ended}
            self._listener.hear(self._running)
            if self.draining:
                self.active = sum(r.state is ReportState.RUNNING for r in reports.values())
        return len(self._reports)

    def _asked(self) -> Mapping[str, JobReport]:
        """What the provider knows of what runs; one that does not answer makes nothing lost."""
        try:
            reports = self._provider.poll(list(self._running))
        except ProviderError as error:
            _log.warning("%s", error)
            return {}
        for handle in self._doubts.unlisted(self._running, reports):
            self._doubts.raise_for([self._running.pop(handle)], taken=True)
        return reports

    def _cancel_unwanted(self) -> None:
        loops, points = self._unwanted()
        if not (loops or points):
            return
        handles = [
            handle
            for handle, c in self._running.items()
            if (c.loop_id in loops or c.point_id in points) and handle not in self._cancelling
        ]
        if handles and told(self._provider.cancel, handles):
            self._cancelling.update(handles)

    def _unwanted(self) -> tuple[set[int], set[int]]:
        """Loops and points of which nobody wants what still runs."""
        loops = self._loops()
        wide = any(self._catalog.plan(loop.id).wide for loop in loops)
        stopped = {loop.id for loop in loops if loop.wish is Wish.CANCEL or stopping(self._store, self._catalog, loop)}
        return stopped, self._store.points.ending() if wide else set()

    def collect(self) -> int:
        """Write what was submitted and what has ended, in one transaction."""
        if not (self._reports or self._acks or self._outcomes or self._listener.due):
            self._renew()
            return 0
        with self._store.transaction():
            cancelled = {loop.id for loop in self._loops() if loop.wish is Wish.CANCEL}
            self._write_acks()
            self._listener.write()
            outcomes = [*self._outcomes, *(self._outcome(h, r) for h, r in self._reports.items())]
            wanted = [self._unless_cancelled(self._listener.judged(o), cancelled) for o in outcomes]
            self._store.jobs.finish(wanted, self._owner)
            hold_on_trouble(self._store, self._catalog, self._workdir, wanted, self._owner)
            self._checkpoints.note(wanted)
        ended = list(self._reports)
        self._reports, self._outcomes = {}, []
        for handle in ended:
            self._running.pop(handle, None)
            self._cancelling.discard(handle)
        self._forget.extend(ended)
        self._renew()
        return len(outcomes)

    def _write_acks(self) -> None:
        if not self._acks:
            return
        acks, self._acks = self._acks, {}
        self._store.jobs.submitted(acks, self._owner)

    def _outcome(self, handle: str, report: JobReport) -> Outcome:
        claim = self._running[handle]
        if report.state is ReportState.CANCELLED:
            report = self._unless_wanted(claim, report)
        plan = self._catalog.plan(claim.loop_id)
        caps = self._caps
        if plan.is_blind(claim.step):
            caps = replace(caps, seal=self._key())
            self._unsealed.append(claim)
        outcome = outcome_of(claim, report, plan, self._store.now(), caps)
        cores = plan.step(claim.step).requires.cores
        return outcome if cores == 1 else replace(outcome, cores=cores)

    def _unless_wanted(self, claim: Claim, report: JobReport) -> JobReport:
        """A job that somebody else cancelled, at the site or an engine that woke up late, is lost: it runs again."""
        loops, points = self._unwanted()
        if claim.loop_id in loops or claim.point_id in points:
            return report
        gone = Failure(FailureClass.INFRA, "E-JOB-LOST", "it was cancelled at the provider, not by this engine")
        return replace(report, state=ReportState.LOST, failure=gone)

    def _key(self) -> Seal:
        if self._seal is None:
            self._seal = Seal(self._workdir / ".idds", make=True)
        return self._seal

    def close_sealed(self) -> None:
        """Seal the folders of what has ended and is on record."""
        unsealed, self._unsealed = self._unsealed, []
        for claim in unsealed:
            self._key().close_folder(self._workdir / claim.attempt.path)

    def _unless_cancelled(self, outcome: Outcome, cancelled: set[int]) -> Outcome:
        """What ends after its loop was cancelled never enters the history; a result is kept beside it."""
        if outcome.claim.loop_id not in cancelled or outcome.attempt_state is AttemptState.CANCELLED:
            return outcome
        if outcome.result is not None:
            self._store.jobs.keep_late([outcome])
        reason = "the loop was cancelled"
        return Outcome(
            outcome.claim,
            AttemptState.CANCELLED,
            JobState.CANCELLED,
            reason=reason,
            usage=outcome.usage,
            was=outcome.was,
        )

    def _renew(self) -> None:
        """Say that what is in flight is still ours; what somebody else has taken over meanwhile is his."""
        now = self._store.now()
        if self.in_flight and now - self._lease_renewed > LEASE_S / 3:
            held = [*self._running.values(), *self._claimed, *self._doubts.claims]
            ours = self._store.jobs.renew([c.attempt.id for c in held], self._owner, LEASE_S)
            self._running = {h: c for h, c in self._running.items() if c.attempt.id in ours}
            self._doubts.keep(ours)
            self._lease_renewed = now

    # ------------------------------------------------------------------ what may start
    def _loops(self) -> list[LoopRecord]:
        return self._catalog.live_loops()

    def claim(self) -> int:
        """Write the intent to run ready jobs, as many as the provider has room for."""
        if self.draining:
            return 0
        with self._store.transaction():  # what may start is asked and taken at once
            return self._claim()

    def _claim(self) -> int:
        can = self._provider.capabilities
        room = can.slots + can.queue - self.in_flight
        open_loops = [p for p in self._loops() if p.state is LoopState.ACTIVE and p.wish is Wish.RUN]
        open_loops = [loop for loop in open_loops if not stopping(self._store, self._catalog, loop)]
        if room <= 0 or not open_loops:
            return 0
        claims = self._store.jobs.claim(
            {loop.id: self._catalog.plan(loop.id).path for loop in open_loops},
            room,
            self._provider.name,
            self._owner,
            LEASE_S,
            lambda job, number: f"{self._store.id}-{job}-{number}",
            hidden=[loop.id for loop in open_loops if self._catalog.plan(loop.id).hidden],
        )
        self._claimed.extend(claims)
        return len(claims)

    def dispatch(self) -> int:
        """Submit what is claimed; never inside a transaction: the intent must be durable before."""
        self._listener.act()
        self._checkpoints.clear()
        if self._forget and told(self._provider.forget, self._forget):
            self._forget = []
        if self._unsealed:
            self.close_sealed()
        claims, self._claimed = self._claimed, []
        specs: list[JobSpec] = []
        kept: list[Claim] = []
        for claim in claims:
            try:
                specs.append(self._spec(claim))
                kept.append(claim)
            except BindingError as error:
                failure = Failure(FailureClass.FATAL, "E-JOB-BIND", str(error), f"E-JOB-BIND {error}")
                self._never_ran(claim, failure)
        if not specs:
            return 0
        try:
            answers = self._provider.submit(specs)
        except ProviderError as error:  # it may have taken them or not
            _log.warning("%s", error)
            self._doubts.raise_for(kept, taken=False)
            return 0
        for claim, answer in zip(kept, answers, strict=True):
            if answer.status is SubmissionStatus.OK and answer.handle is not None:
                self._running[answer.handle] = claim
                self._acks[claim.attempt.id] = answer.handle
            elif answer.status is SubmissionStatus.REFUSED:
                refused = Failure(FailureClass.FATAL, "E-JOB-REFUSED", answer.reason, f"E-JOB-REFUSED {answer.reason}")
                self._never_ran(claim, refused)
            else:
                self._outcomes.append(abandoned(claim, answer.reason, self._store.now()))
        return len(specs)

    def _never_ran(self, claim: Claim, failure: Failure) -> None:
        outcome = failed(claim, failure, self._catalog.plan(claim.loop_id), self._store.now(), self._caps)
        self._outcomes.append(replace(outcome, was=claim.attempt.state))

    def _spec(self, claim: Claim) -> JobSpec:
        plan = self._catalog.plan(claim.loop_id)
        step = plan.step(claim.step)
        values, outputs, seed = job_inputs(self._catalog, plan, claim, point_path(claim.attempt.path))
        checkpoint = checkpoint_folder(self._workdir, claim.attempt.path)
        payload = bind(step, values, outputs, str(plan.bundle), seed, checkpoint)
        if plan.is_blind(claim.step) and isinstance(payload, Function):
            payload = replace(payload, own_folder=True)  # whatever it writes can then be sealed
        return JobSpec(
            key=claim.attempt.key,
            folder=f"{self._workdir}/{claim.attempt.path}",
            payload=payload,
            requires=step.requires,
            seed=seed,
            digest=claim.digest,
            parameters=values,
            log_limit=self._settings.log_limit,
            output_limit=self._settings.output_limit,
            checkpoint=checkpoint,
        )

    def drain(self) -> None:
        """Start nothing more, here or at the provider; what runs may end."""
        self.draining = True
        self.active = self.in_flight
        stop = getattr(self._provider, "drain", None)
        if stop is not None:
            stop()

    def reap(self) -> int:
        """Cancel what the provider runs under our key and the record does not own.

        A record from a backup does not know all that it started: it will ask for the same attempts again, with the
        same keys, and finds what runs. So nothing is cancelled until all of it is adopted or has ended.
        """
        running = getattr(self._provider, "running_keys", None)
        try:
            found = running() if running is not None else ()
        except ProviderError as error:
            _log.warning("%s", error)
            return 0
        # after the listing: what is listed was on record before
        owned = self._store.jobs.live_keys() if found else set()
        strays = [key for key in found if key not in owned and key.startswith(f"{self._store.id}-")]
        if self._store.audit.restored():
            if strays:
                _log.warning("restored from a backup: %d jobs that the record does not own go on", len(strays))
            elif not self._doubts:
                self._store.audit.adopted(self._owner)
            return 0
        if strays:
            _log.warning("cancelling %d jobs that the record does not own: %s", len(strays), ", ".join(strays[:5]))
            told(self._provider.cancel, strays)
        return len(strays)
