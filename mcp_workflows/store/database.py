"""What the store asks of a kind of database. ``sqlite.py`` and ``postgres.py`` answer; nothing else knows which one it is.

On one kind everybody who writes excludes everybody else; on the other, writers meet in the middle of what they write. So a
batch says beforehand what it concerns besides its own rows (``Exclusion``), and a death is either proven by the operating
system or believed after a lease of silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, Engine

from mcp_workflows.store.jobs import Job
from mcp_workflows.store.locks import Lock
from mcp_workflows.store.prepared import Cursor
from mcp_workflows.store.statements import Statements

Grow: TypeAlias = Callable[[], None]


DriverConnection: TypeAlias = Any
"""Each driver's own, with ``cursor`` and ``close``. It begins no transaction by itself: the writer says BEGIN."""


class Others(Protocol):
    """How this process learns that others have committed, and lets them know of what it has."""

    poll_seconds: float
    """Between two calls of ``look``."""

    def start(self, grow: Grow) -> None:
        """``grow`` is to be called, from any thread, when others may have committed something."""
        ...

    def look(self, connection: DriverConnection) -> None:
        """In the writer's thread, on its connection."""
        ...

    def tell(self) -> None:
        """What was just committed concerns others. In the writer's thread; it does not wait."""
        ...

    def close(self) -> None: ...
    def join(self, timeout: float) -> None: ...


class Upkeep(Protocol):
    """What the database wants done beside the writing."""

    def start(self) -> None: ...
    def written(self, jobs: Sequence[Job]) -> None:
        """The writer has committed ``jobs``, in one transaction."""
        ...

    def close(self) -> None: ...
    def join(self, timeout: float) -> None: ...


class Database(Protocol):
    """One database. Connections belong to the threads that ask for them."""

    statements: Statements

    @property
    def begin(self) -> str: ...
    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What may be raised where the database is used."""
        ...

    def prepare(self) -> None:
        """Once, before it is used. ``SettingsInvalid``: it is of no use here. ``StoreUnavailable``: not now."""
        ...

    def lock(self) -> Lock:
        """A handle on the lock under which everything is written; one for each thread."""
        ...

    def life(self, node_id: str) -> Lock:
        """What ``node_id`` holds for as long as its process lives."""
        ...

    def proof_of_death(self, node_id: str) -> Lock | None:
        """The life of a node whose process is gone for certain, now held by the caller; ``None``: only silence can tell."""
        ...

    def forget_lives(self, known: Collection[str]) -> None:
        """Removes what is left of nodes that are not ``known``."""
        ...

    def connect(self, lease_seconds: float) -> DriverConnection:
        """For writing. A transaction of it that does nothing for long may be ended by the database."""
        ...

    def check(self) -> None:
        """``OSError``: what would be written now is lost."""
        ...

    def commit(self, cursor: Cursor) -> None: ...
    def roll_back(self, connection: DriverConnection) -> None:
        """Whatever transaction is open, if there is one."""
        ...

    def engine(self, connections: int) -> Engine:
        """For reading: each transaction sees one state of the database."""
        ...

    def migrating(self) -> AbstractContextManager[Connection]:
        """A connection in a write transaction, of which there is one at a time; committed at the end, all or nothing."""
        ...

    def lose_patience(self) -> None:
        """This process ends: whoever waits for an answer of the database waits no more."""
        ...

    def others(self) -> Others: ...
    def upkeep(self) -> Upkeep: ...

    def is_refusal(self, error: BaseException) -> bool:
        """The database takes everything but this: a value it cannot hold, a constraint, a row too big."""
        ...

    def is_collision(self, error: BaseException) -> bool:
        """Another transaction was in the way; the same again will do."""
        ...

    def is_blocked(self, error: BaseException) -> bool:
        """Somebody kept locked what was asked for, for as long as one waits."""
        ...

    def is_unwell(self, error: BaseException) -> bool:
        """The database cannot be used now, whatever is asked of it."""
        ...

    def explain(self, error: BaseException) -> str:
        """What is wrong and what to do, in one sentence or two."""
        ...
