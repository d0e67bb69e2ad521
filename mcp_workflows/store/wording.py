"""How the store's statements are worded over the tables, the same for every dialect.

``upsert`` is the dialect's insert with ``on_conflict_do_update``; what is not a column's value yet is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Select,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    case,
    column,
    exists,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from mcp_workflows.engine.states import FINISHED, RUN_MOVES, RunStatus, StepStatus
from mcp_workflows.store import tables
from mcp_workflows.store.bulk import Given
from mcp_workflows.store.rows import ATTEMPT_COLUMNS, RECORD_COLUMNS, RUN_COLUMNS, STEP_COLUMNS

SUSPECT_AFTER = 2
"""A run that was active at so many deaths in a row, without progress, may be what kills its nodes."""

run, step, node, inbox, blob = tables.run, tables.step, tables.node, tables.inbox, tables.blob
_MESSAGE_COLUMNS = tuple(name for name in inbox.columns.keys() if name not in {"id", "consumed_at"})  # noqa: SIM118
"""Of a new message."""


def _reachable(status: RunStatus) -> frozenset[RunStatus]:
    """From which states a run may get to ``status`` in one commit, which may hold several moves. None of them goes on
    from where the run finished: that is a commit of its own, and so is what reopens it.
    """
    sources = {status}
    through = [status]
    while through:
        target = through.pop()
        more = {source for source, targets in RUN_MOVES.items() if target in targets} - sources
        sources |= more
        through += more - FINISHED
    return frozenset(sources)


def beat(
    me: ColumnElement[str], last_beat: ColumnElement[int], new_beat: ColumnElement[int], now: ColumnElement[int]
) -> Update:
    """Renews the lease of the node ``me``, and is the fence: one that was declared dead finds no row.

    Nor does what a server comes to late, when its connection was given up and the same was written by another; nor a node
    whose ``last_beat``, which was committed, the database has lost: what the node remembers is more than what is recorded.
    """
    still = (node.c.node_id == me, node.c.ended_at.is_(None), node.c.beat >= last_beat, node.c.beat < new_beat)
    return update(node).where(*still).values(beat=new_beat, beat_at=now)


def upsert_step(upsert: Callable[[Table], Any], given: Given) -> ClauseElement:
    """A step's row, replaced only where that loses nothing.

    An open row gives way to any news of its generation or a later one; a settled one to a later generation, to its
    undoing, to what it says already, or, being a failure, to what came of handling it.
    """
    statement: Any = given.into(upsert(step))
    new = statement.excluded
    still_open = step.c.status.in_(
        literals(status for status in StepStatus if not status.settled or status is StepStatus.COMPENSATING)
    )
    unchanged = and_(new.status == step.c.status, new.output.is_not_distinct_from(step.c.output))
    undoing = new.status.in_(literals([StepStatus.COMPENSATING, StepStatus.COMPENSATED]))
    failed = step.c.status.in_(literals([StepStatus.FAILED, StepStatus.IN_DOUBT]))
    handled = and_(failed, new.status.in_(literals([StepStatus.COMPLETED])), new.error.is_not(None))
    return statement.on_conflict_do_update(
        index_elements=["run", "parent", "path"],
        set_={name: new[name] for name in STEP_COLUMNS[3:]},
        where=or_(
            new.generation > step.c.generation,
            and_(new.generation == step.c.generation, or_(still_open, undoing, handled, unchanged)),
        ),
    )


def upsert_attempt(upsert: Callable[[Table], Any], given: Given) -> ClauseElement:
    statement: Any = given.into(upsert(tables.attempt))
    return statement.on_conflict_do_update(
        index_elements=["run", "path", "number"],
        set_={name: statement.excluded[name] for name in ATTEMPT_COLUMNS[3:]},
    )


def literals(members: Iterable[StrEnum]) -> list[ColumnElement[str]]:
    """Written into the text, so that rows are all the parameters there are."""
    return [literal_column(f"'{member}'") for member in sorted(members)]


def instant(name: str) -> BindParameter[int]:
    """A parameter that is an instant as an integer already."""
    return bindparam(name, type_=BigInteger())


MINE = and_(run.c.key == bindparam("run_key"), run.c.owner == bindparam("me"))
_UNREAD = exists().where(inbox.c.run == run.c.key, inbox.c.consumed_at.is_(None), inbox.c.kept == false())
AT_ONCE = literal_column(str(tables.AT_ONCE), BigInteger)
LAST_SEQ = select(func.coalesce(func.max(step.c.seq), -1)).where(step.c.run == run.c.key).scalar_subquery()


def _moved(status: RunStatus) -> dict[str, Any]:
    """What besides the record changes with a move to ``status``."""
    if status is RunStatus.PAUSED or status in FINISHED:
        return {"recoveries": literal_column("0")}  # a person decides: what they resume is tried afresh
    return {}


def keep_run(status: RunStatus) -> Update:
    """The row of a run that stays this node's."""
    values: dict[str, Any] = {name: bindparam(name) for name in RECORD_COLUMNS}
    return update(run).where(MINE, run.c.status.in_(literals(_reachable(status)))).values(values | _moved(status))


RELEASE_COLUMNS: Sequence[ColumnClause[Any]] = (
    column("run_key", BigInteger()),
    column("me", Text()),
    *(column(name, run.c[name].type) for name in ("claim_at", *RECORD_COLUMNS[1:])),
)
"""Of a run that is let go: whose it is, from when it can be claimed, and its record without the status."""


def release_runs(status: RunStatus, given: Given) -> ClauseElement:
    """The rows of runs that are let go. One with mail unread can be claimed at once; mail that was laid aside for later does
    not count. Answers with when each can be claimed.
    """
    new = given.table().c
    mine = and_(run.c.key == new.run_key, run.c.owner == new.me)
    record: dict[str, Any] = {name: new[name] if name in new else null() for name in RECORD_COLUMNS[1:]}
    released: dict[str, Any] = {
        "status": literal_column(f"'{status}'"),
        "owner": null(),
        "claim_at": case((_UNREAD, AT_ONCE), else_=new.claim_at),
        "interrupted": false(),
    }
    statement = update(run).where(mine, run.c.status.in_(literals(_reachable(status))))
    return statement.values(record | released | _moved(status)).returning(run.c.claim_at)


def start_runs(upsert: Callable[[Table], Any], given: Given) -> ClauseElement:
    """Answers with the ids and keys of those that begin. No row where another one with the same idempotency key is there."""
    statement: Any = given.into(upsert(run))
    return statement.on_conflict_do_nothing(
        index_elements=["actor", "workflow", "idempotency_key"], index_where=run.c.idempotency_key.is_not(None)
    ).returning(run.c.run_id, run.c.key)


def _insert_found(
    statement: Any, names: Sequence[str], found: Mapping[str, ColumnElement[Any]], *where: ColumnElement[bool]
) -> Any:
    """A row whose columns ``found`` are read from rows that are there; the others are parameters."""
    columns = statement.table.c
    values: list[Any] = [found[name] if name in found else bindparam(name, type_=columns[name].type) for name in names]
    chosen: Any = select(*values).where(*where)
    return statement.from_select(names, chosen)


def start_child(upsert: Callable[[Table], Any]) -> ClauseElement:
    """Its actor and its pins are those of the run that starts it. A run that is there already is left as it is."""
    starter = run.alias("starter")
    statement = _insert_found(
        upsert(run), RUN_COLUMNS[1:], {"actor": starter.c.actor, "pins": starter.c.pins},
        starter.c.key == bindparam("run_key"),
    )  # fmt: skip
    return statement.on_conflict_do_nothing(index_elements=["run_id"])


def send(upsert: Callable[[Table], Any]) -> ClauseElement:
    """From one run to another, in the name of the sender's actor. To a run that is not there any more, nothing."""
    sender, receiver = run.alias("sender"), run.alias("receiver")
    statement = _insert_found(
        upsert(inbox), _MESSAGE_COLUMNS, {"run": receiver.c.key, "actor": sender.c.actor},
        sender.c.key == bindparam("run_key"), receiver.c.run_id == bindparam("to"),
    )  # fmt: skip
    return statement.on_conflict_do_nothing(index_elements=["run", "dedupe_key"])


def wake_receiver() -> Update:
    """A run that has finished has no use for what other runs tell it, but that it is to be undone."""
    return (
        update(run)
        .where(
            run.c.run_id == bindparam("to"),
            run.c.owner.is_(None),
            or_(run.c.status.not_in(literals(FINISHED)), bindparam("kind") == literal_column("'undo'")),
        )
        .values(claim_at=AT_ONCE)
    )


def free(*extra: ColumnElement[bool], **values: Any) -> Update:
    """Everything a node holds is let go, for any node to claim now."""
    return (
        update(run)
        .where(run.c.owner == bindparam("node"), *extra)
        .values(owner=None, claim_at=AT_ONCE, interrupted=True, **values)
    )


def claimable(
    *, suspects: bool | None, cannot: Collection[int], timed: bool = False, only: Collection[int] | None = None
) -> ColumnElement[bool]:
    """Runs that may be claimed at ``:now``: suspects, or all others, or both (``None``). ``timed``: only those whose time has
    come, and not those that need no time to come. ``only``: of those with these keys.
    """
    suspect = run.c.recoveries >= SUSPECT_AFTER
    return and_(
        run.c.owner.is_(None),
        run.c.claim_at <= instant("now"),
        run.c.claim_at > AT_ONCE if timed else true(),
        {True: suspect, False: ~suspect, None: true()}[suspects],
        run.c.definition_id.not_in(_numbers(cannot)) if cannot else true(),
        true() if only is None else run.c.key.in_(_numbers(only)),
    )


def _numbers(which: Collection[int]) -> list[ColumnElement[int]]:
    return [literal_column(str(int(one))) for one in sorted(which)]


def joinable() -> Select[Any]:
    return (
        select(run)
        .where(
            run.c.join_key == bindparam("join_key"),
            run.c.actor == bindparam("by"),
            run.c.workflow == bindparam("of"),
            or_(
                run.c.status.not_in(literals(FINISHED)),
                run.c.finished_at >= instant("since"),
            ),
        )
        .order_by(run.c.key.desc())
        .limit(1)
    )


def put_blob(upsert: Callable[[Table], Any]) -> ClauseElement:
    statement = _insert_found(
        upsert(blob), list(blob.columns.keys()), {"run": run.c.key}, run.c.run_id == bindparam("of")
    )
    return statement.on_conflict_do_nothing(index_elements=["run", "blob_id", "part"])


def deliver(upsert: Callable[[Table], Any], *more: str) -> ClauseElement:
    """``more``: columns that are given beside the usual ones."""
    statement = upsert(inbox).values({name: bindparam(name) for name in (*_MESSAGE_COLUMNS, *more)})
    return statement.on_conflict_do_nothing(index_elements=["run", "dedupe_key"]).returning(inbox.c.id)
