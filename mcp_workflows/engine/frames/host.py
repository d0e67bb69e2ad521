"""What frames ask of the machine that holds them, and what they tell one another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from mcp_workflows.definition.program import Json, OnFailure, Step
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import AttemptRecord, Message, NewChild, Outgoing, Run, StepRecord, Stopping
from mcp_workflows.engine.scope import Lexical, Scope

if TYPE_CHECKING:
    from mcp_workflows.engine.frames.attempts import AttemptFrame
    from mcp_workflows.engine.frames.step import StepFrame

MailKey: TypeAlias = tuple[str, str, int]
"""What a message is for: its kind, a name or a path, an attempt or a generation."""


class Break(NamedTuple):
    """A failure that stands."""

    error: StepError
    policy: OnFailure | None = None
    """What the failing step itself asks for, instead of the run's ``on_failure``."""
    ends_run: bool = False
    """No ``on_error`` around it holds it up."""


class Host(Protocol):
    """What a frame needs of the machine."""

    agenda: deque[Callable[[], None]]
    now: datetime
    seq: int
    """The place of the last record in the order of settling."""
    run: Run
    max_output_bytes: int
    """What one step may give; see ``bounds``."""

    @property
    def memo(self) -> Mapping[str, StepRecord]: ...
    def frame(self, parent: Parent, step: Step, path: str, lexical: Lexical, *, replaying: bool) -> StepFrame: ...
    def scope(self, lexical: Lexical, now: datetime, extra: Mapping[str, Json]) -> Scope: ...
    def write(self, record: StepRecord) -> None: ...
    def forget(self, lexical: Lexical, steps: tuple[Step, ...]) -> None:
        """A list is folded: nobody will ask for its records any more."""
        ...

    def forget_rows(self, paths: Iterable[str]) -> None:
        """The rows of items, branches and iterations, once what holds them has what they gave."""
        ...

    def attempt_failed(self, attempt: AttemptRecord) -> None: ...
    def launch(self, frame: AttemptFrame) -> None: ...
    def wait(self, frame: Waiter, due_at: datetime | None, key: MailKey | None = None) -> None:
        """Until ``due_at``, or a message for ``key`` that came before: then ``due`` or ``mail`` is called; or ``stop``."""
        ...

    def spawn(self, child: NewChild) -> None: ...
    def send(self, message: Outgoing) -> None: ...
    def in_flight_in(self, path: str) -> tuple[str, ...]: ...
    def stop_in(self, path: str) -> None:
        """Stop what waits inside of the step at ``path``."""
        ...


class Waiter(Protocol):
    """What waits for an instant or a message."""

    path: str

    @property
    def asks(self) -> bool:
        """It waits for a person or a signal."""
        ...

    @property
    def since(self) -> datetime:
        """When it began, as recorded: of several that wait for one message the first one takes it."""
        ...

    def due(self) -> None:
        """The instant has come."""
        ...

    def mail(self, message: Message) -> None:
        """The message has come; it is consumed with what is decided now."""
        ...

    def stop(self) -> None:
        """Nothing more is to be started here."""
        ...


class Parent(Protocol):
    """What a frame tells the one around it when it ends."""

    @property
    def stopping(self) -> Stopping | None:
        """Why nothing more is to be started here; of the innermost block that stops, else of the run."""
        ...

    def child_done(self, record: StepRecord | None) -> None:
        """Its work is done, skipped, or failed and passed over. ``record`` is that of the last step."""
        ...

    def child_broke(self, failure: Break) -> None: ...
    def child_returned(self, value: Json) -> None: ...

    def child_stopped(self) -> None:
        """It ended because it was asked to start nothing more."""
        ...
