"""What one attempt of one step is asked to do, and what it may answer. Waiting and failing are values here, not exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from mcp_workflows.definition.program import Json, Work


class StepCall(NamedTuple):
    """One attempt. ``values`` holds all that the work's expressions name, but ``secrets``, which are read now."""

    run_id: str
    path: str
    attempt: int
    """From 1, over all attempts of this step in this run."""
    work: Work
    values: Mapping[str, Json]
    idempotency_key: str
    timeout: float | None
    """Seconds for the whole attempt; ``steps`` enforces it."""
    correction: Json = None
    """What a person asked to be merged into the rendered request: ``{json?, form?, query?, text?}``."""
    secrets: tuple[str, ...] = ()
    """The names that the definition declares."""
    parked: Json = None
    """What this step's last attempt answered with ``Parked``: go on from there, do not begin again."""


@dataclass(frozen=True, slots=True)
class StepError:
    """Why work failed, stored as data.

    ``in_doubt``: it is unknown whether the effect took place. ``retryable``: another attempt may well succeed (of http,
    ``steps`` decides by the kind of failure and the status). ``retry_after``: what the service asked for, in seconds.
    """

    code: str
    message: str
    in_doubt: bool = False
    retryable: bool = False
    status: int | None = None
    body: Json = None
    request: Json = None
    """What was asked, redacted and cut, so that a caller can correct it: of http ``{method, url, query?, json?, …}``, of python
    ``{call, args}``, of mcp_tool ``{service, tool, arguments}``, of jq ``{filter, input}``."""
    details: Json = None
    retry_after: float | None = None
    step: str | None = None
    """The path of the step that failed; the engine fills it in."""
    attempts: int | None = None
    """How many attempts were made; the engine fills it in."""

    def to_json(self) -> dict[str, Any]:
        """Without what is absent; ``in_doubt`` is always said."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value is not None and (value is not False or key == "in_doubt")
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepError:
        return cls(**data)

    def at(self, step: str, attempts: int) -> StepError:
        return replace(self, step=step, attempts=attempts)


class Completed(NamedTuple):
    """The work was done. ``result`` is what ``result`` means in the step's ``output``; of http ``{status, headers, body}``."""

    result: Json


class Failed(NamedTuple):
    """The attempt failed."""

    error: StepError


@dataclass(frozen=True, slots=True)
class Parked:
    """The work has begun and goes on elsewhere. ``note`` is recorded before anything else happens, and given back as
    ``StepCall.parked`` when the step is asked to go on.

    ``wake_after``: seconds until it is asked to go on (a poll); ``None``: it ends by a message (a callback, a child's end).
    ``expires_after``: seconds until such a step has failed for want of a message; ``None``: never.
    ``child``: the run to start, in the transaction of this record.
    """

    note: Json
    wake_after: float | None = None
    expires_after: float | None = None
    child: ChildStart | None = None


@dataclass(frozen=True, slots=True)
class ChildStart:
    """A child run as it is to begin: its input is validated, defaults applied."""

    workflow: str
    version: int
    definition_id: int
    input: Json


Outcome: TypeAlias = Completed | Failed | Parked
