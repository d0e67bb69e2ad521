"""Nodes on one PostgreSQL whose writers are the real ones, with a stage between them and their connections."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from sqlalchemy.engine import make_url

from mcp_workflows.clock import new_id
from mcp_workflows.engine.records import RunRecord, StepRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import NodeLost
from mcp_workflows.store import calls, nodes, retention
from mcp_workflows.store.batch import Batch
from mcp_workflows.store.changes import Changes
from mcp_workflows.store.holdings import Holdings
from mcp_workflows.store.jobs import CallJob, Job, StartJob, turn_job
from mcp_workflows.store.locks import NoLock
from mcp_workflows.store.nodes import Dead
from mcp_workflows.store.postgres import Postgres
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.starts import Start, Started
from mcp_workflows.store.statements import Statements
from mcp_workflows.store.tables import micros
from mcp_workflows.store.trouble import Trouble
from mcp_workflows.store.values import Delivered, NewRun, TakenOver, Tree
from mcp_workflows.store.writer import Writer
from tests.ownership.stage import Stage, step
from tests.store.material import NOW, done
from tests.store.raw import postgres_connection

T = TypeVar("T")

LATER = NOW.replace(year=NOW.year + 1)
"""The clock of all nodes. Messages and runs are of ``NOW``."""


class Line:
    """A connection to the database, which may be cut."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.cut = False

    @property
    def connection(self) -> psycopg.Connection[Any]:
        if self.cut:
            raise psycopg.OperationalError("the line was cut")
        return self._connection

    def close(self) -> None:
        if not self.cut:
            self._connection.close()


class Staged:
    """A connection, or a cursor of it, each of whose statements is an actor's step.

    BEGIN and ROLLBACK are none: nothing depends on when they come. ``before_commit`` may cut the line.
    """

    def __init__(self, line: Line, before_commit: Callable[[Line], None]) -> None:
        self._line = line
        self._before_commit = before_commit
        self._cursor: Any = line.connection.cursor()

    def cursor(self) -> Staged:
        return Staged(self._line, self._before_commit)

    def close(self) -> None:
        self._line.close()

    def execute(self, sql: str, *parameters: Any) -> Any:
        self._wait(sql)
        if sql == "COMMIT":
            self._before_commit(self._line)
        assert self._line.connection
        return self._cursor.execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any, **options: Any) -> Any:
        self._wait(sql)
        return self._cursor.executemany(sql, *parameters, **options)

    def _wait(self, sql: str) -> None:
        turn = step()
        if turn is not None and sql != "ROLLBACK" and not sql.startswith("BEGIN"):
            turn(self._line.connection.info.backend_pid)

    def __getattr__(self, name: str) -> Any:
        of_cursor = {"fetchall", "fetchone", "rowcount", "nextset", "statusmessage"}
        return getattr(self._cursor if name in of_cursor else self._line.connection, name)


class Silence:
    """Nobody is told of anything: who is to look is in the play."""

    def tell(self) -> None:
        return


def _nothing(_line: Line) -> None:
    return


class StagedPostgres(Postgres):
    """Deadlocks are noticed at once."""

    def __init__(self, url: str, statements: Statements | None = None) -> None:
        super().__init__(make_url(url))
        self.statements = statements or self.statements
        self.before_commit: Callable[[Line], None] = _nothing

    def connect(self, lease_seconds: float) -> Any:
        connection = super().connect(lease_seconds)
        connection.execute("SET deadlock_timeout = '5ms'")
        return Staged(Line(connection), self._commits)

    def _commits(self, line: Line) -> None:
        self.before_commit(line)

    def others(self) -> Any:
        return Silence()


class StagedWriter(Writer):
    """The real one, driven by whoever calls ``commit`` instead of by its own queue."""

    def commit(self, job: Job) -> Any:
        """What the job gave, or raises what became of it."""
        self._answers: dict[Job, Any] = {}
        self._commit([job])
        answer = self._answers[job]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _settle(self, batch: Batch, failed: dict[Job, Exception]) -> None:
        self._answers |= {job: failed.get(job, job.result) for job in batch.jobs}


class StagedNode:
    """The verbs of the store, each a transaction of the calling thread."""

    def __init__(self, name: str, database: StagedPostgres) -> None:
        self.name = name
        self.database = database
        self._writer: StagedWriter | None = None
        self.holdings: Holdings

    async def born(self) -> None:
        """A new incarnation, on the connection of the last one."""
        connection: Any = self._writer._connection if self._writer is not None else None
        connection = connection or self.database.connect(15.0)
        self.holdings = Holdings(new_id("n_"), NoLock())
        self._writer = writer = StagedWriter(
            self.database, self.holdings, Changes(), Trouble(), clock=lambda: LATER, lease_seconds=15.0,
            written=lambda _jobs: None
        )  # fmt: skip
        writer._connection = connection
        calls.join(self.database.statements, connection.cursor(), self.holdings.node_id, self.name, 1, micros(LATER))
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        if self._writer is not None:
            self._writer._disconnect()

    @property
    def node_id(self) -> str:
        return self.holdings.node_id

    def beat(self) -> None:
        self._call(lambda _cursor, _now: None)

    def try_beat(self) -> bool:
        """Whether it can still write."""
        try:
            self.beat()
        except NodeLost:
            return False
        return True

    def start(self, new: NewRun) -> Started:
        start = Start(new, self.node_id, None)
        return self._commit(StartJob(self.holdings, self._future(), start, start.size, start.rows))

    def claim(self, limit: int = 9) -> list[str]:
        def committed(rows: list[Any]) -> None:
            for row in rows:
                self.holdings.take(row)

        claim = calls.Claim(self.database.statements, self.holdings, limit, [], micros(LATER))
        return [row.run_id for row in self._call(claim, committed=committed)]

    def record(self, turn: Turn) -> None:
        self._commit(turn_job(turn, self.holdings.runs[turn.run_id], self.holdings, self._future(), lambda: LATER))

    def deliver(self, run_id: str, kind: str = "signal") -> Delivered:
        values = {"reason": None, "dedupe_key": None, "received_at": micros(NOW), "kept": False}
        deliver = calls.Deliver(self.database.statements, run_id, {"kind": kind, "body": "{}", "actor": "a", **values})
        return self._call(deliver, concerns=deliver.concerns)

    def give_back(self, run_id: str) -> None:
        key, statements = self.holdings.runs[run_id], self.database.statements

        def dropped(_count: int) -> None:
            self.holdings.drop(run_id)

        self._call(
            lambda cursor, _now: statements.give_back.run(cursor, run_key=key, me=self.node_id),
            committed=dropped,
            concerns=[run_id],
        )

    def take_over(self, *dead: Dead) -> list[TakenOver]:
        return self._call(lambda cursor, now: nodes.take_over(self.database.statements, dead, cursor, now))

    def leave(self) -> None:
        def ended(_none: None) -> None:
            self.holdings.end()

        statements = self.database.statements
        self._call(lambda cursor, now: nodes.leave(statements, self.node_id, cursor, now), committed=ended)

    def withdraw(self, *run_ids: str) -> list[Tree]:
        withdraw = retention.Withdraw(self.database.statements, [Tree(run_ids)], LATER)
        return self._call(withdraw, concerns=withdraw.concerns)

    def delete_some(self) -> int:
        return self._call(retention.delete_some(self.database.statements))

    def _call(self, call: Callable[[Cursor, int], T], **options: Any) -> T:
        return self._commit(CallJob(self.holdings, self._future(), call, **options))

    def _commit(self, job: Job) -> Any:
        assert self._writer is not None
        return self._writer.commit(job)

    def _future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()


class World:
    """A database, nodes on it, and what can be seen of it from outside. ``statements`` may be broken ones."""

    def __init__(self, url: str, statements: Statements | None = None) -> None:
        self.url = url
        self.outside: psycopg.Connection[Any] = postgres_connection(url)
        self.stage = Stage(postgres_connection(url))
        self.nodes = [StagedNode(name, StagedPostgres(url, statements)) for name in ("victim", "other", "third")]
        self.definition_id = 0

    async def begin(self) -> tuple[StagedNode, StagedNode, StagedNode]:
        """An empty database, and three nodes that have just come."""
        self.outside.execute("DELETE FROM run")
        self.outside.execute("DELETE FROM node")
        if not self.definition_id:
            [(self.definition_id,)] = self.ask(
                "INSERT INTO definition (name, version, digest, content, created_at) "
                "VALUES ('charge', 1, 'd', '{}', 0) RETURNING id"
            )
        for node in self.nodes:
            node.database.before_commit = _nothing
            await node.born()
        victim, other, third = self.nodes
        return victim, other, third

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.outside.close()
        self.stage.close()

    def new(self, **changes: Any) -> NewRun:
        values: dict[str, Any] = {
            "run_id": new_id("r_"), "workflow": "charge", "version": 1, "definition_id": self.definition_id, "input": {},
            "actor": "agent", "created_at": NOW, "record": RunRecord(RunStatus.RUNNING, started_at=NOW),
        }  # fmt: skip
        return NewRun(**(values | changes))

    def begun(self, node: StagedNode, **changes: Any) -> str:
        new = self.new(**changes)
        node.start(new)
        return new.run_id

    def ask(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.outside.execute(sql.encode(), parameters).fetchall()

    def seen(self, node: StagedNode) -> Dead:
        """``node``, as somebody saw it who has watched it long enough."""
        [(beat,)] = self.ask("SELECT beat FROM node WHERE node_id = %s", node.node_id)
        return Dead(node.node_id, node.name, None, beat)

    def living(self) -> set[str]:
        return {node for (node,) in self.ask("SELECT node_id FROM node WHERE ended_at IS NULL")}

    def owner(self, run_id: str) -> str | None:
        [(owner,)] = self.ask("SELECT owner FROM run WHERE run_id = %s", run_id)
        return owner

    def status(self, run_id: str) -> str:
        return self.ask("SELECT status FROM run WHERE run_id = %s", run_id)[0][0]

    def recoveries(self, run_id: str) -> int:
        return self.ask("SELECT recoveries FROM run WHERE run_id = %s", run_id)[0][0]

    def unread(self, run_id: str) -> list[int]:
        return [message for message, consumed in self._messages(run_id) if not consumed]

    def consumed(self, run_id: str) -> int:
        return sum(consumed for _, consumed in self._messages(run_id))

    def _messages(self, run_id: str) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT id, consumed_at IS NOT NULL FROM inbox JOIN run ON run.key = inbox.run WHERE run_id = %s", run_id
        )

    def late_commit(self, connection: psycopg.Connection[Any]) -> None:
        """A COMMIT that is on its way arrives, though nobody waits for its answer any more."""
        Staged(Line(connection), _nothing).execute("COMMIT")
        connection.close()

    def steps(self, run_id: str) -> list[tuple[str, Any]]:
        return self.ask(
            "SELECT path, step.output FROM step JOIN run ON run.key = step.run WHERE run_id = %s ORDER BY path", run_id
        )

    def check_nothing_is_lost(self) -> None:
        """What holds whatever happens: each unfinished run is a living node's that knows it, or can be claimed, or waits for
        something that has not come; nothing unread lies before a run that nobody looks at; no two hold the same run.
        """
        living = self.living()
        holders: dict[str, list[str]] = {}
        for node in self.nodes:
            if node.node_id in living and not node.holdings.ended:
                for run_id in node.holdings.runs:
                    holders.setdefault(run_id, []).append(node.node_id)
        rows = self.ask(
            "SELECT run_id, owner, status, claim_at, (SELECT count(*) FROM inbox WHERE run = run.key AND "
            "consumed_at IS NULL AND NOT kept) FROM run WHERE run_id LIKE 'r%%'"
        )
        for run_id, owner, status, claim_at, unread in rows:
            assert owner is None or owner in living, f"{run_id} belongs to a dead node"
            believed = holders.get(run_id, [])
            assert believed == ([] if owner is None else [owner]), f"{run_id} of {owner} is held by {believed}"
            if owner is None and (unread or status in {"pending", "running"}):
                assert claim_at is not None, f"{run_id} is lost: nobody looks at it again"
                assert claim_at <= micros(LATER), f"{run_id} is not looked at before {claim_at}"


def turn(run_id: str, *steps: StepRecord, consumed: Sequence[int] = ()) -> Turn:
    return Turn(run_id, steps or [done("a", 1, "by the victim")], consumed=consumed)
