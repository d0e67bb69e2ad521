"""A workflow as the engine runs it: frozen, compiled, checked.

The loader makes these from a file, once. Nothing here knows of YAML, Pydantic or I/O; texts with ``${…}`` are
already ``Template``s and conditions already ``Expression``s. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from mcp_workflows.definition.expressions import Expression, Template

Json: TypeAlias = Any
"""``None | bool | int | float | str | list[Json] | dict[str, Json]``: Python has no useful static type for it."""

OnFailure = Literal["compensate", "pause", "fail"]


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing at the service (RFC 9110, 9.2.1)."""


INTERRUPTED = "interrupted"
"""The code of an attempt that nobody saw end: whoever made it is gone."""


class Backoff(StrEnum):
    """How the delay grows from attempt to attempt."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is made again. ``conditions`` are error codes or status classes: connect, timeout, 429, 5xx."""

    max_attempts: int = 1
    backoff: Backoff = Backoff.EXPONENTIAL
    delay: float = 1.0
    max_delay: float = 60.0
    jitter: bool = True
    conditions: tuple[str, ...] | None = None
    """What is tried again; ``None``: whatever the error itself says can be tried again."""
    give_up_after: float | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials of a request: ``bearer`` one template, ``basic`` user and password, ``header`` name and value."""

    scheme: Literal["bearer", "basic", "header"]
    parts: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class HttpWork:
    """One request, the service's settings already merged in.

    ``url`` renders to an absolute URL whose inserted pieces are percent-encoded (``render_url``).
    """

    method: str
    url: Template
    query: Template | None = None
    headers: tuple[tuple[str, Template], ...] = ()
    body_kind: Literal["json", "form", "text"] | None = None
    body: Template | None = None
    auth: Auth | None = None
    connect_timeout: float = 10.0
    success: tuple[str, ...] | Expression = ("2xx",)
    """Status codes and classes (``404``, ``2xx``), or an expression on ``result``."""
    response: Literal["auto", "json", "text", "none"] = "auto"
    idempotency_key: Template | Literal[False] | None = None
    """``None``: the attempt's own key on every method but GET and HEAD."""
    service: str | None = None


@dataclass(frozen=True, slots=True)
class SetWork:
    """Values from expressions."""

    values: Template


@dataclass(frozen=True, slots=True)
class WaitWork:
    """A pause of ``seconds``, or until what ``until`` gives: an instant or ISO 8601 text."""

    seconds: float | None = None
    until: Template | None = None


@dataclass(frozen=True, slots=True)
class ReturnWork:
    """Ends the run as completed, with this value."""

    value: Template


@dataclass(frozen=True, slots=True)
class FailWork:
    """Ends the run as failed; ``on_failure`` overrides the run's."""

    message: Template
    code: str = "failed"
    details: Template | None = None
    on_failure: OnFailure | None = None


Work: TypeAlias = HttpWork | SetWork | WaitWork | ReturnWork | FailWork


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a definition. ``name`` is the last part of its path: the author's id, else kind and position (``http#2``)."""

    name: str
    kind: str
    work: Work
    id: str | None = None
    title: str | None = None
    when: Expression | None = None
    output: Template | None = None
    """What ``output:`` says, an expression on ``result``; ``None``: the kind's own output (of http, the body)."""
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    """Seconds for one attempt."""
    continue_on_error: bool = False
    compensate: Compensation | None = None
    at_most_once: bool = False
    reads_now: bool = False
    """Some expression of the step names ``run.now``, so that instant is recorded before the first attempt."""
    needed_by: tuple[str, ...] = ()
    """Where its output is read without ``.?`` (``FILE:LINE``); such a step cannot be skipped by a correction."""

    @property
    def has_effect(self) -> bool:
        """An attempt may change something outside, so one whose end nobody saw leaves that in doubt."""
        return isinstance(self.work, HttpWork) and self.work.method not in SAFE_METHODS

    def goes_on_after(self, code: str) -> bool:
        """``on_error: continue`` holds. Not for ``fail``, nor where somebody must say what happened to an at-most-once step."""
        stands = isinstance(self.work, FailWork) or (self.at_most_once and code == INTERRUPTED)
        return self.continue_on_error and not stands

    def default_output(self, result: Json) -> Json:
        """The kind's own output: of http the body."""
        return result["body"] if isinstance(self.work, HttpWork) else result


@dataclass(frozen=True, slots=True)
class Compensation:
    """What undoes a step. ``steps`` is one unnamed step for the short form (``name == ""``), or a list."""

    steps: tuple[Step, ...]
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class McpOptions:
    """How the workflow shows itself as a tool. ``join`` is ``off``, ``running`` or a number of seconds."""

    wait: float = 10.0
    join: Literal["off", "running"] | float = "running"
    expose: Literal["tool", "none"] = "tool"
    destructive: bool | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One workflow, checked and compiled. Equal ``digest`` means equal content."""

    name: str
    title: str | None
    description: str
    content: str
    """The canonical JSON text of the file, anchors resolved: what the store keeps and a run is pinned to."""
    digest: str
    input_schema: Mapping[str, Json]
    """What the tool publishes: JSON Schema 2020-12, ``type: object``, ``additionalProperties: false``."""
    output_schema: Mapping[str, Json] | None
    vars: Mapping[str, Json]
    """Defaults of the deployment's plain settings."""
    secrets: tuple[str, ...]
    steps: tuple[Step, ...]
    output: Template | None
    on_failure: OnFailure = "compensate"
    timeout: float | None = None
    mcp: McpOptions = field(default_factory=McpOptions)
    read_only: bool = False
    """All its work is GET or HEAD."""
    destructive: bool = False
    """Some step (compensations aside) is DELETE, or the author says so."""
    source: str = ""
    """The file it came from, for messages."""
