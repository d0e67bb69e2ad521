"""The one thread that writes: it drains what all runs have finished since its last commit into the next one.

No timer gathers batches: while one commit is on its way to the disk the next one fills. What the database refuses is
found by halving, and only the culprit fails. What the database cannot take now, because it is locked, full or gone, waits.
A COMMIT whose answer was lost is looked up before anything is written again, but where that would do no harm: every
transaction writes its number into the node's row.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mcp_workflows.clock import Clock
from mcp_workflows.errors import NodeLost, StoreUnavailable
from mcp_workflows.store.batch import Batch, refusal
from mcp_workflows.store.changes import Changes
from mcp_workflows.store.database import Database, DriverConnection
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.jobs import Job
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.tables import micros
from mcp_workflows.store.trouble import WRITING, Trouble

logger = logging.getLogger(__name__)

MAX_ROWS = 2000
MAX_BYTES = 8 * 1024 * 1024
"""Of one transaction."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between tries while the database cannot be written."""
LAST_WORD_SECONDS = 0.5
"""For telling others of the last commit."""
COLLISIONS = 10
"""With transactions of others, in a row: after so many something is wrong."""

Settled = tuple[asyncio.Future[Any], Any, "Exception | None"]


class Writer(threading.Thread):
    """``holdings`` is replaced, by the store, when the process starts as a new incarnation."""

    def __init__(
        self, database: Database, holdings: Holdings, changes: Changes, trouble: Trouble, *, clock: Clock,
        lease_seconds: float, written: Callable[[Sequence[Job]], None],
    ) -> None:  # fmt: skip
        super().__init__(name="mcp-workflows-writer", daemon=True)
        self.holdings = holdings
        self._trouble = trouble
        self.renewed = time.monotonic()
        """When the last commit was begun that took place."""
        self._database = database
        self._changes = changes
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._written = written
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._next: Job | None = None
        """Taken from the queue, for the next batch."""
        self._lock = database.lock()
        self._connection: DriverConnection | None = None
        self._closing = threading.Event()
        self._in_doubt: int | None = None
        self._others = database.others()

    # Called from the event loop

    def put(self, job: Job) -> None:
        """Hands ``job`` over; its future is settled once it is committed, or cannot be."""
        self._queue.put(job)

    def close(self) -> None:
        """What was put before is still written, unless the database is unwell; then the thread ends."""
        self._closing.set()
        self._queue.put(None)

    # The thread

    def run(self) -> None:
        self._others.start(lambda: self._call(self._changes.hear))
        self._connect()
        looked = 0.0
        poll = self._others.poll_seconds
        while True:
            try:
                job = self._next or self._queue.get(timeout=poll)
                self._next = None
            except queue.Empty:
                pass
            else:
                if job is None:
                    break
                self._commit([job], fill=True)
            if time.monotonic() - looked >= poll and self._connection is not None:
                looked = time.monotonic()
                self._others.look(self._connection)
        self._others.close()
        self._disconnect_locked()
        self._others.join(LAST_WORD_SECONDS)
        self._lock.close()

    def _commit(self, jobs: list[Job], *, fill: bool = False) -> None:
        """Commits ``jobs`` and what has come since, as far as they can be; settles the futures of all of them."""
        holdings = jobs[0].holdings
        batch = Batch(holdings, jobs)
        try:
            committed = self._transact(batch, fill=fill)
        except NodeLost as lost:
            holdings.end()
            self._settle(batch, {job: NodeLost(str(lost)) for job in jobs})
        except Exception as error:  # noqa: BLE001  a value, a constraint, or a defect of one job: the others must not suffer
            if len(jobs) == 1:
                self._settle(batch, {jobs[0]: refusal(error)})
                return
            self._commit_halves(jobs)
        else:
            if committed:
                batch.committed()
                if batch.concerns_others:
                    self._others.tell()
                self._settle(batch, batch.failed)
            else:
                trouble = self._trouble.text or "The database cannot be used now."
                self._settle(batch, {job: StoreUnavailable(trouble) for job in jobs})

    def _commit_halves(self, jobs: list[Job]) -> None:
        middle = len(jobs) // 2
        self._commit(jobs[:middle])
        self._commit(jobs[middle:])

    def _transact(self, batch: Batch, *, fill: bool) -> bool:
        """Tries until the batch is committed, or it is time to give up (``False``). Raises what no waiting helps."""
        pause = FIRST_PAUSE
        collisions = 0
        while True:
            try:
                with self._lock:
                    if fill:
                        self._fill(batch)
                        fill = False
                    try:
                        self._try(batch)
                    except Exception as error:
                        self._recover(error, batch.holdings)
                        raise
            except Exception as error:
                if not self._database.is_unwell(error):
                    raise
                if self._database.is_collision(error):
                    collisions += 1
                    if collisions % COLLISIONS:
                        continue
                self._trouble.begin(WRITING, self._database.explain(error))
                if self._gives_up():
                    return False
                self._closing.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self._trouble.end(WRITING)
                return True

    def _fill(self, batch: Batch) -> None:
        """Takes everything that waits, now that the lock is ours: others may have held it for long.

        What another incarnation put there is not of this batch: its fence is another.
        """
        jobs = batch.jobs
        assert isinstance(jobs, list)
        rows, size = jobs[0].rows, jobs[0].size
        while rows < MAX_ROWS and size < MAX_BYTES:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job is None:
                self._queue.put(None)
                return
            if job.holdings is not batch.holdings:
                self._next = job
                return
            rows += job.rows
            size += job.size
            jobs.append(job)

    def _try(self, batch: Batch) -> None:
        """One transaction."""
        started = time.monotonic()
        self._database.check()
        connection: DriverConnection = self._connection or self._database.connect(self._lease_seconds)
        self._connection = connection
        cursor = connection.cursor()
        if not self._write_alone(batch, cursor):
            cursor.execute(self._database.begin)
            if self._in_doubt is not None and self._took_place(batch.holdings):
                cursor.execute("ROLLBACK")
                batch.holdings.last_beat, self._in_doubt = self._in_doubt, None
                return
            self._in_doubt = None
            beat = next(batch.holdings.beats)
            batch.write(cursor, self._database.statements, beat, micros(self._clock()))
            self._in_doubt = beat
            self._database.commit(cursor)
            batch.holdings.last_beat, self._in_doubt = beat, None
        self.renewed = started
        self._written(batch.jobs)

    def _write_alone(self, batch: Batch, cursor: Cursor) -> bool:
        """Whether one statement was enough for ``batch``. It commits by itself, and may be repeated where it is not known
        whether it did: steps that say what is recorded already change nothing.
        """
        whole = self._database.statements.steps_alone
        if whole is None or self._in_doubt is not None:
            return False
        steps = batch.steps_alone()
        if not steps or not whole.takes(steps):
            return False
        beat = next(batch.holdings.beats)
        batch.write_alone(cursor, whole, steps, beat, micros(self._clock()))
        batch.holdings.last_beat = beat
        return True

    def _took_place(self, holdings: Holdings) -> bool:
        """Whether the COMMIT that was not answered was done all the same."""
        assert self._connection is not None
        cursor = self._connection.cursor()
        self._database.statements.last_beat.run(cursor, me=holdings.node_id)
        return cursor.fetchall() == [(self._in_doubt,)]

    def _recover(self, error: Exception, holdings: Holdings) -> None:
        """After a failure inside a transaction, under the lock: nothing of it may stay, and a lost COMMIT is looked up."""
        if self._connection is None:
            return
        try:
            self._database.roll_back(self._connection)
            if self._in_doubt is not None and not self._took_place(holdings):
                self._in_doubt = None
        except self._database.errors as another:
            logger.debug("a transaction could not be rolled back, its connection is given up: %s", another)
            self._disconnect()
        if self._database.is_unwell(error) and not self._database.is_collision(error):
            try:
                if not self._database.is_blocked(error):  # a lease was waited for already
                    self._live_on(holdings)
            finally:
                self._disconnect()

    def _live_on(self, holdings: Holdings) -> None:
        """Renews the lease alone, where there is room for that and not for the batch: on a full disk, say.

        Others, who have nothing to record, would take this node for dead, and make again what it only cannot record yet.
        """
        if self._connection is None or self._in_doubt is not None or self._closing.is_set():
            return
        started = time.monotonic()
        me, last, beat = holdings.node_id, holdings.last_beat, next(holdings.beats)
        cursor = self._connection.cursor()
        try:
            renew = self._database.statements.beat
            renewed = renew.run(cursor, me=me, last_beat=last, new_beat=beat, now=micros(self._clock()))
        except self._database.errors as another:
            logger.debug("the lease cannot be renewed either: %s", another)
            return
        if renewed != 1:
            raise holdings.lost()
        holdings.last_beat, self.renewed = beat, started

    def _connect(self) -> None:
        """So that others' commits are seen from the beginning. Should it fail, the first transaction tries again."""
        try:
            with self._lock:
                self._connection = self._database.connect(self._lease_seconds)
            self._others.look(self._connection)
        except self._database.errors as error:
            self._trouble.begin(WRITING, self._database.explain(error))

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except self._database.errors as error:
                logger.warning("a connection could not be closed: %s", error)

    def _disconnect_locked(self) -> None:
        try:
            with self._lock:
                self._disconnect()
        except OSError as error:
            logger.warning("the database could not be locked to close it: %s", error)

    # How the database is

    def _gives_up(self) -> bool:
        """When the lease is over, or the process ends. Not while it is unknown whether the batch was committed."""
        if self._closing.is_set():
            return True
        return self._in_doubt is None and self._trouble.seconds(WRITING) > self._lease_seconds

    # Who is told

    def _settle(self, batch: Batch, failed: dict[Job, Exception]) -> None:
        settled: list[Settled] = [(job.future, job.result, failed.get(job)) for job in batch.jobs]
        self._call(lambda: self._answer(settled, notable=batch.notable))

    def _answer(self, settled: Sequence[Settled], *, notable: bool) -> None:
        """On the event loop, once for a whole batch."""
        for future, result, error in settled:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if notable:
            self._changes.grow()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the event loop is closed: nobody waits any more
            logger.debug("nobody is left to be told of a commit")
