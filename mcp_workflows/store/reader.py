"""What can be asked of the store: it changes nothing, and takes no lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Message, MessageKind, Run, StepRecord
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.store import retention
from mcp_workflows.store.reads import of_messages, of_nodes, of_runs, of_steps
from mcp_workflows.store.reads.pool import Reads
from mcp_workflows.store.tables import micros
from mcp_workflows.store.values import (
    Claimable,
    Ending,
    Expired,
    Mark,
    NodeReport,
    NodeRow,
    RunFilter,
    RunList,
    StoredDefinition,
)


class Reader:
    """Each answer is of one state of the database. ``StoreUnavailable``: it cannot be read now."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def nodes(self) -> list[NodeRow]:
        """All that are not forgotten, the youngest first."""
        return await self._reads(of_nodes.nodes)

    async def reports(self) -> dict[str, NodeReport]:
        """What those that are up say of themselves, by their ids, the longest-running first."""
        return await self._reads(of_nodes.reports)

    async def load_definition(self, definition_id: int) -> StoredDefinition:
        return await self._reads(of_runs.definition, definition_id)

    # Runs

    async def claimable_runs(self, now: datetime, limit: int, cannot: Collection[int]) -> list[Claimable]:
        """What ``claim_runs`` could claim, in due order."""
        return await self._reads(of_runs.claimable_runs, micros(now), limit, cannot)

    async def ending_runs(self, now: datetime, limit: int, of: Collection[int]) -> list[Ending]:
        """Claimable runs of these definitions that somebody wants ended, or whose end has begun, in due order."""
        return await self._reads(of_runs.ending_runs, micros(now), limit, of)

    async def next_claim(self, now: datetime) -> datetime | None:
        """When the next run that nobody owns falls due, after ``now``; ``None``: none is waited for."""
        return await self._reads(of_runs.next_claimable, now)

    async def queued(self) -> int:
        """How many runs have not begun."""
        return await self._reads(of_runs.queued)

    async def load_run(self, run_id: str, actor: str | None = None) -> Run | None:
        """With ``actor`` only if it is that one's."""
        return await self._reads(of_runs.run, run_id, actor)

    async def load_children(self, run_id: str, statuses: Collection[RunStatus], limit: int) -> list[Run]:
        """The runs in these states that ``run_id`` started and did not leave to themselves, the oldest first."""
        return await self._reads(of_runs.children, run_id, statuses, limit)

    async def find_runs(self, prefix: str, actor: str | None) -> list[str]:
        """Up to ten ids that begin with ``prefix``; of all actors for ``None``."""
        return await self._reads(of_runs.run_ids, prefix, actor)

    async def marks(self, run_ids: Collection[str]) -> dict[str, Mark]:
        """Of each of these runs that is there."""
        return await self._reads(of_runs.marks, run_ids)

    async def list_runs(self, query: RunFilter) -> RunList:
        """Newest first. ``InputRefused``: an unknown status or cursor."""
        return await self._reads(of_runs.runs, query)

    async def load_steps(self, run_id: str, lists: Collection[str] | None = None) -> list[StepRecord]:
        """In the order in which they were settled: all, or those that ``paths.parent_of`` puts into one of ``lists``."""
        if lists is None:
            return await self._reads(of_steps.steps, run_id)
        return (await self.load_lists({run_id: lists}))[run_id]

    async def load_lists(self, wanted: Mapping[str, Collection[str]]) -> dict[str, list[StepRecord]]:
        """The same of many runs, each with its lists, at the cost of a few."""
        return await self._reads(of_steps.steps_in, wanted)

    async def load_undoable(self, run_id: str) -> list[StepRecord]:
        """What undoing the run concerns, in the order in which it was settled."""
        return await self._reads(of_steps.undoable_steps, run_id)

    async def load_waiting(self, run_id: str) -> list[StepRecord]:
        """The signals and approvals that are waited for, in the order in which they began."""
        return await self._reads(of_steps.waiting_steps, run_id)

    async def open_steps(self, run_id: str) -> list[tuple[str, StepError | None]]:
        """Paths of steps under way, in the order in which they began, without the blocks around them; the first hundred.

        With each that waits to be tried again, why its last attempt failed.
        """
        return await self._reads(of_steps.open_steps, run_id)

    async def count_completed(self, run_id: str) -> int:
        """How many steps completed, without compensations, branches, items and iterations."""
        return await self._reads(of_steps.completed_steps, run_id)

    async def completed_paths(self, run_id: str, kinds: Collection[str]) -> list[str]:
        """Steps of these kinds that completed and were not undone, the last one first; without failures that were handled."""
        return await self._reads(of_steps.completed_paths, run_id, kinds)

    async def last_change(self, run_id: str) -> datetime | None:
        """When the last step began or was settled, or the last message came."""
        return await self._reads(of_steps.last_change, run_id)

    async def load_attempts(self, run_id: str) -> list[AttemptRecord]:
        """In the order in which they ended."""
        return await self._reads(of_steps.attempts, run_id)

    # Messages and blobs

    async def load_messages_of(self, run_id: str, kinds: Sequence[MessageKind]) -> list[Message]:
        """All of these kinds that the run was ever sent, in the order in which they were received."""
        return await self._reads(of_messages.messages_of, run_id, kinds)

    async def load_messages(self, run_id: str, unconsumed_only: bool) -> list[Message]:
        """In the order in which they were received."""
        return await self._reads(of_messages.messages, run_id, unconsumed_only)

    async def count_messages(self, run_id: str, kind: MessageKind) -> int:
        """How many messages of this kind the run was ever sent."""
        return await self._reads(of_messages.count_messages, run_id, kind)

    async def load_unconsumed(self, run_ids: Sequence[str]) -> list[Message]:
        """What these runs have not consumed, be it kept for later, in the order in which each run received it."""
        return await self._reads(of_messages.unconsumed, run_ids)

    async def unread(self, run_id: str) -> tuple[int, int]:
        """How many messages the run has not consumed, and how many characters they are."""
        return await self._reads(of_messages.unread, run_id)

    async def consumed(self, message_id: int) -> bool:
        """Whether the run's owner has taken the message in, be it to keep it until the run waits for it."""
        return await self._reads(of_messages.consumed, message_id)

    async def load_blob(self, run_id: str, blob_id: str) -> tuple[bytes, str | None] | None:
        """The content and its type; ``None``: the run has no such blob."""
        return await self._reads(of_steps.blob, run_id, blob_id)

    # What finished long ago

    async def expired(self, before: datetime, after: tuple[datetime, int] | None = None) -> Expired:
        """A page of the trees all of whose runs finished before that instant, and go on no more."""
        return await self._reads(retention.expired_trees, before, after)
