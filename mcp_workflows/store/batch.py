"""One transaction: the fence, then turns and starts as few large statements, then calls one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import Busy, CallerError, NodeLost, RecordRefused
from mcp_workflows.store.bulk import Whole
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.jobs import CallJob, Job, StartJob, TurnJob
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.rows import Values, named_record
from mcp_workflows.store.starts import Start, Started, start_all
from mcp_workflows.store.statements import Statements


class Refused(Exception):
    """Some row of the batch was not taken; which one is not known yet."""


@dataclass(slots=True)
class Batch:
    """Jobs to be committed together. ``failed`` is what fails without disturbing the others."""

    holdings: Holdings
    jobs: Sequence[Job]
    failed: dict[Job, Exception] = field(default_factory=dict["Job", Exception])
    notable: bool = False
    """This process has something to look at."""
    concerns_others: bool = False
    """So have other nodes, or those who wait there."""
    claimable_now: bool = False
    turns: list[TurnJob] = field(default_factory=list[TurnJob])
    """Those that were written, of runs that are still ours."""

    def steps_alone(self) -> list[Values]:
        """The rows of its steps, where it is nothing but steps, of runs that are still ours; otherwise none."""
        steps: list[Values] = []
        for job in self.jobs:
            if not isinstance(job, TurnJob) or not job.only_steps or self.holdings.runs.get(job.run_id) != job.key:
                return []
            steps += job.steps
        return steps

    def write_alone(self, cursor: Cursor, whole: Whole, steps: Sequence[Values], beat: int, now: int) -> None:
        """``steps_alone``, as a transaction of its own. ``NodeLost``: as in ``write``."""
        self._begin()
        self.turns = [job for job in self.jobs if isinstance(job, TurnJob)]
        me, last = self.holdings.node_id, self.holdings.last_beat
        if not whole.run(cursor, steps, me=me, last_beat=last, beat=beat, now=now):
            raise self.holdings.lost()

    def write(self, cursor: Cursor, statements: Statements, beat: int, now: int) -> None:
        """Between BEGIN and COMMIT. ``NodeLost``: nothing may be written by this incarnation any more."""
        self._begin()
        me, last = self.holdings.node_id, self.holdings.last_beat
        if statements.beat.run(cursor, me=me, last_beat=last, new_beat=beat, now=now) != 1:
            raise self.holdings.lost()
        starts = [job for job in self.jobs if isinstance(job, StartJob)]
        calls = [job for job in self.jobs if isinstance(job, CallJob)]
        self.turns = self._ours([job for job in self.jobs if isinstance(job, TurnJob)])
        self._exclude(cursor, statements, starts, calls)
        self._write_rows(cursor, statements)
        for job in self.turns:
            for message in job.kept:
                if statements.keep.run(cursor, message=message, run_key=job.key) != 1:
                    raise Refused(f"message {message} was consumed before")
            for message in job.consumed:
                if statements.consume.run(cursor, message=message, run_key=job.key, now=now) != 1:
                    raise Refused(f"message {message} was consumed before")
            if job.children or job.outgoing:
                self._write_others(cursor, statements, job)
            if job.run is not None and not job.release:
                self._keep_run(cursor, statements, job)
        self._release_runs(cursor, statements, [job for job in self.turns if job.release], now)
        self._start_runs(cursor, statements, starts)
        for call in sorted(calls, key=lambda call: call.last):
            try:
                call.result = call.call(cursor, now)
            except (CallerError, Busy) as error:
                self.failed[call] = error

    def _begin(self) -> None:
        """Forgets what came of an earlier try."""
        self.failed = {}
        self.claimable_now = False

    def committed(self) -> None:
        """The commit is done: what it means for what this incarnation holds."""
        self.notable = self.claimable_now
        for turn in self.turns:  # in the order of ``write``: what one released a call may have claimed
            self._turn_committed(turn)
        for job in self.jobs:
            if isinstance(job, TurnJob) or job in self.failed:
                continue
            if isinstance(job, StartJob):
                self._start_committed(job)
                continue
            if job.committed is not None:
                job.committed(job.result)
            if job.notable is not None and job.notable(job.result):
                self.notable = True
        self.concerns_others |= self.notable

    def _turn_committed(self, job: TurnJob) -> None:
        if job.run is not None:
            self.concerns_others = True
        if job.steps and job.run_id in self.holdings.suspects:
            self.holdings.suspects.discard(job.run_id)
            self.notable = True  # the next suspect may be tried now
        if job.release:
            if job.run_id in self.holdings.suspects:
                self.notable = True
            self.holdings.drop(job.run_id)

    def _start_committed(self, job: StartJob) -> None:
        assert job.result is not None
        if job.result.joined:
            return
        if job.start.run.owner is not None:
            self.holdings.begin(job.result.run_id, job.result.key)
        if not job.start.new.own:
            self.notable = True

    def _ours(self, turns: Sequence[TurnJob]) -> list[TurnJob]:
        """Those of runs that are still ours; a run may be released by an earlier turn of the same batch."""
        ours: list[TurnJob] = []
        released: set[str] = set()
        for job in turns:
            if job.run_id in released or self.holdings.runs.get(job.run_id) != job.key:
                self.failed[job] = NodeLost(f"run {job.run_id} is not this node's")
                continue
            if job.release:
                released.add(job.run_id)
            ours.append(job)
        return ours

    def _exclude(
        self, cursor: Cursor, statements: Statements, starts: Sequence[StartJob], calls: Sequence[CallJob[Any]]
    ) -> None:
        """Takes, in one order, all locks for which batches of several nodes could wait for one another."""
        keys = [job.key for job in self.turns if job.run is not None]
        run_ids = [message["to"] for job in self.turns for message in job.outgoing]
        names = [name for job in starts for name in job.start.exclusive]
        for job in calls:
            run_ids += job.concerns
            names += job.exclusive
        if keys or run_ids or names:
            statements.exclude(cursor, keys, run_ids, names)

    def _write_rows(self, cursor: Cursor, statements: Statements) -> None:
        steps: list[Values] = []
        attempts: list[Values] = []
        for job in self.turns:
            steps += job.steps
            attempts += job.attempts
        for distinct in _without_repetition(steps):
            if statements.steps.run(cursor, distinct) != len(distinct):
                raise Refused("a settled step would be written over")
        if statements.attempts.run(cursor, attempts) != len(attempts):
            raise Refused("an attempt was not taken")

    def _write_others(self, cursor: Cursor, statements: Statements, job: TurnJob) -> None:
        """What the turn means for other runs. Said before, it is not said again."""
        for child in job.children:
            if statements.start_child.run(cursor, run_key=job.key, **child) == 1:
                self.claimable_now = True
        for message in job.outgoing:
            if statements.send.run(cursor, run_key=job.key, **message) == 1:
                statements.wake_receiver.run(cursor, to=message["to"], kind=message["kind"])
                self.claimable_now = True  # or its owner, this node perhaps, is to look into the inbox

    def _keep_run(self, cursor: Cursor, statements: Statements, job: TurnJob) -> None:
        assert job.status is not None
        assert job.run is not None
        record = named_record(job.run)
        if statements.keep_run[job.status].run(cursor, run_key=job.key, me=self.holdings.node_id, **record) != 1:
            raise Refused(f"a run may not become {job.status} from where it stands")

    def _release_runs(self, cursor: Cursor, statements: Statements, jobs: Sequence[TurnJob], now: int) -> None:
        """The last that is said of a run in a batch. What other runs of the batch have sent it is in its inbox by now."""
        by_status: dict[RunStatus, list[Values]] = {}
        for job in jobs:
            assert job.status is not None
            assert job.run is not None
            row = (job.key, self.holdings.node_id, job.claim_at, *job.run[1:])
            by_status.setdefault(job.status, []).append(row)
        for status, many in by_status.items():
            released = statements.release_runs[status].returned(cursor, many)
            if len(released) != len(many):
                raise Refused(f"a run may not become {status} from where it stands")
            if any(claim_at is not None and claim_at <= now for (claim_at,) in released):
                self.claimable_now = True

    def _start_runs(self, cursor: Cursor, statements: Statements, starts: Sequence[StartJob]) -> None:
        jobs = {job.start: job for job in starts}

        def answer(start: Start, started: Started | Exception) -> None:
            if isinstance(started, Exception):
                self.failed[jobs[start]] = started
            else:
                jobs[start].result = started

        if jobs:
            start_all(cursor, statements, list(jobs), answer)


def _without_repetition(steps: Sequence[Values]) -> Iterator[Sequence[Values]]:
    """In order, in parts that hold each step once: one statement may not write the same row twice everywhere."""
    if len(steps) == 1:
        yield steps
        return
    keys = [row[:3] for row in steps]
    if len(set(keys)) == len(keys):
        yield steps
        return
    seen: set[Values] = set()
    start = 0
    for place, key in enumerate(keys):
        if key in seen:
            yield steps[start:place]
            start = place
            seen.clear()
        seen.add(key)
    yield steps[start:]


def refusal(error: Exception) -> RecordRefused:
    refused = RecordRefused(f"The database refuses this record: {error}")
    refused.__cause__ = error
    return refused
