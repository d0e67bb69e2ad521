"""Every error this package raises, in one tree of two families that never mix.

    WorkflowsError
    ├── CallerError                the caller is wrong; the message says what to do, and nothing was changed
    │   ├── DefinitionInvalid      a workflow file is refused; carries every problem with its place
    │   ├── SettingsInvalid
    │   ├── InputRefused           arguments do not fit the input schema
    │   ├── UnknownWorkflow
    │   ├── UnknownRun             absent, or not the caller's to see
    │   ├── KeyConflict            an idempotency key that belongs to a run with other input
    │   └── RunRefused             the run cannot do that in its state
    │       ├── PersonNeeded       an approval that a person must decide was answered by a program
    │       └── RelativeMoved      what was asked fitted a run of its family as it stood a moment ago
    └── SystemUnwell               not the caller's fault; trying again later may help
        ├── StoreUnavailable       the database cannot be read or written
        ├── RecordRefused          the database refuses this one record, whatever else it takes
        ├── NodeLost               this node was declared dead: what it holds belongs to others
        ├── IdentityUnknown        whom a token names cannot be found out now
        ├── Busy                   too many runs wait for a place already; nothing was started
        └── Stopping               the process is shutting down

The third family, failed work, is data and not an exception: ``engine.outcome.StepError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a workflow file: ``FILE:LINE:COL code: message``. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.code}: {self.message}"


class WorkflowsError(Exception):
    """The root of the tree."""


class CallerError(WorkflowsError):
    """The caller is wrong. ``str()`` says what happened, what state that leaves, and what to do."""


class DefinitionInvalid(CallerError):
    """A workflow file is refused. ``problems`` holds every one of them, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class SettingsInvalid(CallerError):
    """A setting has no usable value."""


class InputRefused(CallerError):
    """Arguments do not fit the workflow's input schema; no run was started."""


class UnknownWorkflow(CallerError):
    """No workflow of that name is served here."""


class UnknownRun(CallerError):
    """No run with that id that the caller may see."""


class KeyConflict(CallerError):
    """The idempotency key belongs to a run that was started with other input."""


class RunRefused(CallerError):
    """The run cannot do what was asked in the state it is in."""


class PersonNeeded(RunRefused):
    """A person must decide this approval, and it was not shown that one did. All but ``run_id`` is the wait's."""

    def __init__(self, run_id: str, name: str, wait: str, expires_at: datetime | None) -> None:
        self.run_id, self.name, self.wait, self.expires_at = run_id, name, wait, expires_at
        super().__init__(f'approval "{name}" of {run_id} must be decided by a person.')


class RelativeMoved(RunRefused):
    """A parent or child of the run was told to go on or to stop at the same moment."""


class SystemUnwell(WorkflowsError):
    """Not the caller's fault; the same call may succeed later. ``str()`` is for who runs the service."""

    @property
    def outside(self) -> str:
        """What anybody may be told: no host, no user, no file."""
        return str(self)


class StoreUnavailable(SystemUnwell):
    """The database cannot be read or written now."""

    @property
    def outside(self) -> str:
        return "The database cannot be used now; the server's log says why."


class RecordRefused(SystemUnwell):
    """The database refuses this record for what it holds; other records are not affected."""


class NodeLost(SystemUnwell):
    """Another node has taken over what this node held."""


class IdentityUnknown(SystemUnwell):
    """Whom a token names cannot be found out now, so its bearer is not let in."""

    @property
    def outside(self) -> str:
        return "Whom this token names cannot be found out now; the server's log says why."


class Busy(SystemUnwell):
    """So many runs wait for a place that no more are taken in. Nothing was started."""


class Stopping(SystemUnwell):
    """The process is shutting down; runs are safe and go on elsewhere or at the next start."""
