"""What the writer says to the database: every statement, compiled once per dialect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import (
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Dialect,
    Select,
    Table,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)

from mcp_workflows.engine.states import FINISHED, RunStatus
from mcp_workflows.store import tables, wording
from mcp_workflows.store.bulk import Build, Bulk, InRows, ShortOrLong, WholeBulk
from mcp_workflows.store.prepared import Cursor, Each, Prepared, one_by_one
from mcp_workflows.store.rows import SELDOM, SELDOM_AT_START, SELDOM_OF_RECORD, START_COLUMNS, STEP_COLUMNS

run, step, node, inbox, blob = tables.run, tables.step, tables.node, tables.inbox, tables.blob

Exclude: TypeAlias = Callable[[Cursor, Collection[int], Collection[str], Collection[str]], None]
"""Lets nobody else change runs, by key or by id, or make what is named, until the transaction ends."""


def no_exclusion(
    cursor: Cursor,
    keys: Collection[int],
    run_ids: Collection[str],
    names: Collection[str],
) -> None:
    """Where one writes at a time anyway."""


Among: TypeAlias = Callable[[ColumnElement[Any], Select[Any]], ColumnElement[bool]]
"""That a value is one of few that a query finds."""


def is_in(value: ColumnElement[Any], found: Select[Any]) -> ColumnElement[bool]:
    return value.in_(found)


class Statements:
    """All of them, for one dialect. ``upsert`` is the dialect's insert with ``on_conflict_do_update``."""

    def __init__(
        self,
        dialect: Dialect,
        upsert: Callable[[Table], Any],
        exclude: Exclude = no_exclusion,
        bulk: Bulk = InRows,
        each: Each = one_by_one,
        among: Among = is_in,
        whole: WholeBulk | None = None,
    ) -> None:
        self.exclude = exclude
        self.each = each
        self.among = among

        self.dialect = dialect
        self._upsert = upsert
        self._of_nodes()
        self._of_records(bulk, whole)
        self._of_starts(bulk)
        self._of_messages()
        self._of_contents()

    def _prepare(self, statement: ClauseElement) -> Prepared:
        return Prepared(statement, self.dialect)

    def _short_or_long(
        self, bulk: Bulk, build: Build, columns: Sequence[ColumnClause[Any]], seldom: Collection[str]
    ) -> ShortOrLong:
        short = [column for column in columns if column.name not in seldom]
        return ShortOrLong(bulk(build, short, self.dialect), bulk(build, columns, self.dialect))

    def _of_nodes(self) -> None:
        """The life of nodes, and what the dead leave."""
        mine = node.c.node_id == bindparam("me")
        self.beat = self._prepare(
            wording.beat(bindparam("me"), bindparam("last_beat"), bindparam("new_beat"), bindparam("now"))
        )
        self.report = self._prepare(update(node).where(mine).values(report=bindparam("told")))
        # Waits for a transaction that was cut off and that the database still works at.
        self.last_beat = self._prepare(select(node.c.beat).where(mine).with_for_update(key_share=True))
        self.live_nodes = self._prepare(
            select(node.c.node_id, node.c.name, node.c.beat).where(node.c.ended_at.is_(None), ~mine)
        )
        self.insert_node = self._prepare(insert(node).values({name: bindparam(name) for name in node.columns.keys()}))  # noqa: SIM118
        self.forget_nodes = self._prepare(
            node.delete().where(
                node.c.ended_at < wording.instant("before"), ~exists().where(run.c.owner == node.c.node_id)
            )
        )
        self.end_node = self._prepare(
            update(node)
            .where(node.c.node_id == bindparam("node"), node.c.ended_at.is_(None))
            .values(ended_at=bindparam("now"), crashed=bindparam("was_crash"))
        )
        still = select(node.c.node_id).where(
            node.c.node_id == bindparam("node"), node.c.ended_at.is_(None), node.c.beat == bindparam("seen")
        )
        # Whoever has its row at this moment is the node itself, which lives, or another who takes over.
        self.end_silent_node = self._prepare(
            update(node)
            .where(node.c.node_id.in_(still.with_for_update(key_share=True, skip_locked=True)))
            .values(ended_at=bindparam("now"), crashed=true())
        )
        self.free_left = self._prepare(wording.free())
        self.free_crashed = self._prepare(
            wording.free(
                recoveries=case((run.c.recovered_seq < wording.LAST_SEQ, 1), else_=run.c.recoveries + 1),
                recovered_seq=wording.LAST_SEQ,
            )
        )

    def _of_records(self, bulk: Bulk, whole: WholeBulk | None) -> None:
        """What a turn records."""
        build = partial(wording.upsert_step, self._upsert)
        columns = [step.c[name] for name in STEP_COLUMNS]
        self.steps = self._short_or_long(bulk, build, columns, SELDOM)
        # A transaction in which there is nothing else; None where several statements take no longer.
        self.steps_alone = whole and whole(build, [each for each in columns if each.name not in SELDOM], self.dialect)
        self.attempts = bulk(partial(wording.upsert_attempt, self._upsert), list(tables.attempt.columns), self.dialect)
        self.keep_run = {s: self._prepare(wording.keep_run(s)) for s in RunStatus if s not in FINISHED}
        self.release_runs = {
            s: self._short_or_long(bulk, partial(wording.release_runs, s), wording.RELEASE_COLUMNS, SELDOM_OF_RECORD)
            for s in RunStatus
        }
        self.consume = self._prepare(
            update(inbox)
            .where(
                inbox.c.id == bindparam("message"), inbox.c.run == bindparam("run_key"), inbox.c.consumed_at.is_(None)
            )
            .values(consumed_at=bindparam("now"))
        )
        self.keep = self._prepare(
            update(inbox)
            .where(
                inbox.c.id == bindparam("message"), inbox.c.run == bindparam("run_key"), inbox.c.consumed_at.is_(None)
            )
            .values(kept=true())
        )

    def _of_starts(self, bulk: Bulk) -> None:
        """How runs begin, and find one another."""
        columns = [run.c[name] for name in START_COLUMNS]
        self.starts = self._short_or_long(bulk, partial(wording.start_runs, self._upsert), columns, SELDOM_AT_START)
        self.start_child = self._prepare(wording.start_child(self._upsert))
        self.send = self._prepare(wording.send(self._upsert))
        self.wake_receiver = self._prepare(wording.wake_receiver())
        self.run_by_idempotency_key = self._prepare(
            select(run).where(
                run.c.actor == bindparam("by"),
                run.c.workflow == bindparam("of"),
                run.c.idempotency_key == bindparam("idempotency_key"),
            )
        )
        # Served by an index alone; asked only where the new run has to wait as well.
        self.queue_at = self._prepare(
            select(run.c.key)
            .where(run.c.status.in_(wording.literals([RunStatus.PENDING])))
            .order_by(run.c.key)
            .limit(1)
            .offset(bindparam("place"))
        )
        self.run_by_join_key = self._prepare(wording.joinable())
        self.run_by_run_id = self._prepare(select(run).where(run.c.run_id == bindparam("run_id")))

    def _of_messages(self) -> None:
        """What is sent to runs, and who moves them."""
        self.deliver = self._prepare(wording.deliver(self._upsert))
        self.note = self._prepare(wording.deliver(self._upsert, "consumed_at"))
        self.delivered = self._prepare(
            select(inbox.c.id).where(inbox.c.run == bindparam("run_key"), inbox.c.dedupe_key == bindparam("dedupe_key"))
        )
        moving = inbox.c.kind.in_([literal_column("'resume'"), literal_column("'cancel'")])
        self.told_to_move = self._prepare(
            select(inbox.c.kind).where(inbox.c.run == bindparam("run_key"), inbox.c.consumed_at.is_(None), moving)
        )
        self.give_back = self._prepare(update(run).where(wording.MINE).values(owner=None))
        self.wake = self._prepare(
            update(run).where(run.c.key == bindparam("run_key"), run.c.owner.is_(None)).values(claim_at=wording.AT_ONCE)
        )
        self.holds_suspect = self._prepare(
            select(run.c.key)
            .where(
                run.c.owner == bindparam("me"),
                run.c.recoveries >= wording.SUSPECT_AFTER,
                run.c.recovered_seq >= wording.LAST_SEQ,
            )
            .limit(1)
        )

    def _of_contents(self) -> None:
        """Definitions, blobs, and what the database as a whole is told."""
        d = tables.definition
        self.definition_by_digest = self._prepare(
            select(d.c.id, d.c.version).where(d.c.name == bindparam("of"), d.c.digest == bindparam("digest"))
        )
        self.last_version = self._prepare(
            select(func.coalesce(func.max(d.c.version), 0)).where(d.c.name == bindparam("of"))
        )
        self.define = self._prepare(
            insert(d).values({name: bindparam(name) for name in d.columns.keys() if name != "id"}).returning(d.c.id)  # noqa: SIM118
        )
        self.put_blob = self._prepare(wording.put_blob(self._upsert))
        self.part_is_there = self._prepare(
            select(blob.c.size)
            .join(run, run.c.key == blob.c.run)
            .where(
                run.c.run_id == bindparam("of"),
                blob.c.blob_id == bindparam("blob_id"),
                blob.c.part == bindparam("part"),
            )
        )
        s = tables.setting
        self.put_setting = self._prepare(
            self._upsert(s)
            .values(name=bindparam("setting"), value=bindparam("new"))
            .on_conflict_do_nothing(index_elements=["name"])
        )
        self.setting = self._prepare(select(s.c.value).where(s.c.name == bindparam("setting")))


def claim(
    statements: Statements, *, suspects: bool, cannot: Collection[int], timed: bool = False,
    only: Collection[int] | None = None,
) -> Prepared:  # fmt: skip
    """Of suspects those that were there at fewer deaths come first: whoever is first in line would be there at all of them."""
    in_order = [run.c.recoveries] if suspects else []
    due = (
        select(run.c.key)
        .where(wording.claimable(suspects=suspects, cannot=cannot, timed=timed, only=only))
        .order_by(*in_order, run.c.claim_at, run.c.key)
        .limit(bindparam("at_most"))
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")  # a subquery might be run more than once, and lock more than the limit
    )
    claimed = update(run).where(statements.among(run.c.key, select(due.c.key))).values(owner=bindparam("me"))
    return Prepared(claimed.returning(run), statements.dialect)
