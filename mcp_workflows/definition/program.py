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


TIMEOUT = "timeout"
"""The code of an attempt that did not end in time, and of a message that did not come in time."""
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
    body_kind: Literal["json", "form", "text", "multipart", "blob"] | None = None
    body: Template | None = None
    """Of ``multipart`` one object ``{field: text | {blob, filename?, content_type?}}``, of ``blob`` a blob's reference."""
    auth: Auth | None = None
    connect_timeout: float = 10.0
    success: tuple[str, ...] | Expression = ("2xx",)
    """Status codes and classes (``404``, ``2xx``), or an expression on ``result``."""
    response: Literal["auto", "json", "text", "blob", "none"] = "auto"
    idempotency_key: Template | Literal[False] | None = None
    """``None``: the attempt's own key on every method but GET and HEAD."""
    service: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that a ``url`` whose host comes from ``input`` may name."""
    poll: Poll | None = None
    callback: Callback | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """What is asked after the first answer, until ``until`` holds.

    In ``url`` (absolute) and ``headers`` ``result`` is the first answer, in ``until`` and ``fail_when`` the last one.
    """

    url: Template
    until: Expression
    method: str = "GET"
    headers: tuple[tuple[str, Template], ...] = ()
    every: float = 5.0
    """Seconds between two questions; ``Retry-After`` wins over it."""
    timeout: float | None = None
    """Seconds from the first answer."""
    fail_when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """The step is done when ``callback_url`` is called. ``timeout``: seconds from the answer to the request."""

    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class PythonWork:
    """A registered function, called with ``args`` (an object: keyword arguments)."""

    call: str
    args: Template


@dataclass(frozen=True, slots=True)
class McpToolWork:
    """One call of a tool of another MCP server, or the list of its tools (``tool`` is ``None``).

    ``server`` renders to a URL, or to the name of a server in the settings.
    """

    service: str
    server: Template
    tool: str | None
    arguments: Template | None = None
    auth: Auth | None = None
    headers: tuple[tuple[str, Template], ...] = ()
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class JqWork:
    """A jq program over ``input``; its output is the one value it gives, or the list of several."""

    filter: str
    input: Template


@dataclass(frozen=True, slots=True)
class WorkflowWork:
    """A child run. ``detach``: the step is done when the child is durable."""

    name: str
    input: Template
    detach: bool = False


@dataclass(frozen=True, slots=True)
class SignalWork:
    """Waits for a message of this name; its data is the output."""

    name: str
    schema: Mapping[str, Json] | None = None
    """JSON Schema of the data, closed and with its defaults."""
    timeout: float | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


@dataclass(frozen=True, slots=True)
class ApprovalWork:
    """Waits for a decision. ``form``: JSON Schema (an object's) of what the answer nests under ``form``."""

    message: Template
    form: Mapping[str, Json] | None = None
    approvers: Template | None = None
    """A list of actors; ``None``: whoever may answer at all."""
    by: Literal["person", "anyone"] = "person"
    timeout: float | None = None
    on_reject: Literal["fail", "continue"] = "fail"
    on_timeout: Literal["fail", "reject"] = "fail"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way that ``switch`` or ``on_error`` may take. ``name`` is its part of paths: ``when1``, ``else``, a case's text.

    Without ``when`` and without ``case`` it fits always. ``output`` sees the arm's own steps; without, the last one's.
    """

    name: str
    steps: tuple[Step, ...]
    when: Expression | None = None
    case: str | None = None
    output: Template | None = None


@dataclass(frozen=True, slots=True)
class SwitchWork:
    """The first arm that fits; with ``value``, the arm whose ``case`` is its text."""

    arms: tuple[Arm, ...]
    value: Template | None = None


@dataclass(frozen=True, slots=True)
class ParallelWork:
    """All branches at once, by name."""

    branches: Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True, slots=True)
class ForEachWork:
    """``steps`` for each of ``items``. Inside, the item is named ``item_name`` and its place ``index``."""

    items: Template
    steps: tuple[Step, ...]
    item_name: str = "item"
    concurrency: int = 1
    output: Template | None = None
    """Of one item; without, the output of its last step."""
    collect_errors: bool = False
    """``on_item_error: collect``: a failed item is null in the output, its error in ``errors``."""


@dataclass(frozen=True, slots=True)
class RepeatWork:
    """``steps`` again and again. ``state`` and ``index`` are named inside.

    After the steps ``next`` gives the new state, then ``collect`` an element of the output, then ``until`` says whether
    to end; the latter two see the new state. There is an ``until`` or a ``max_iterations``.
    """

    steps: tuple[Step, ...]
    state: Template | None = None
    next: Template | None = None
    collect: Template | None = None
    until: Expression | None = None
    every: float | None = None
    """Seconds between two iterations."""
    max_iterations: int | None = None

    @property
    def keeps_iterations(self) -> bool:
        """Each iteration has a row of its own: for what it collects, or for what its compensations see as ``state``."""
        return self.collect is not None or any(_undoes(step) for step in self.steps)


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


def _undoes(step: Step) -> bool:
    return step.compensate is not None or any(_undoes(inner) for steps in step.lists for inner in steps)


BlockWork: TypeAlias = SwitchWork | ParallelWork | ForEachWork | RepeatWork
"""Work that holds steps."""

Work: TypeAlias = (
    HttpWork
    | PythonWork
    | McpToolWork
    | JqWork
    | WorkflowWork
    | SignalWork
    | ApprovalWork
    | SetWork
    | WaitWork
    | ReturnWork
    | FailWork
    | BlockWork
)


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
    on_error: tuple[Arm, ...] = ()
    """What is done after a failure; the taken arm's output stands for the step's."""
    compensate: Compensation | None = None
    at_most_once: bool = False
    reads_now: bool = False
    """Some expression of the step names ``run.now``, so that instant is recorded before the first attempt."""
    needed_by: tuple[str, ...] = ()
    """Where its output is read without ``.?`` (``FILE:LINE``); such a step cannot be skipped by a correction."""

    @property
    def has_effect(self) -> bool:
        """An attempt may change something outside, so one whose end nobody saw leaves that in doubt."""
        match self.work:
            case HttpWork(method=method):
                return method not in SAFE_METHODS
            case McpToolWork(tool=tool):
                return tool is not None
            case PythonWork():
                return True
            case _:
                return False

    @property
    def lists(self) -> tuple[tuple[Step, ...], ...]:
        """The lists of steps in it: those of a block, then those of ``on_error``."""
        handlers = tuple(arm.steps for arm in self.on_error)
        match self.work:
            case SwitchWork(arms=arms):
                return (*(arm.steps for arm in arms), *handlers)
            case ParallelWork(branches=branches):
                return (*branches.values(), *handlers)
            case ForEachWork(steps=steps) | RepeatWork(steps=steps):
                return (steps, *handlers)
            case _:
                return handlers

    @property
    def is_block(self) -> bool:
        return isinstance(self.work, SwitchWork | ParallelWork | ForEachWork | RepeatWork)

    def stands(self, code: str) -> bool:
        """A failure that ends the run whatever handles failures: ``fail``, or an at-most-once step that was cut off."""
        return isinstance(self.work, FailWork) or (self.at_most_once and code == INTERRUPTED)

    def goes_on_after(self, code: str) -> bool:
        """The failure is passed over: ``on_error: continue``, or a signal that did not come and need not."""
        expired = isinstance(self.work, SignalWork) and self.work.on_timeout == "continue" and code == TIMEOUT
        return (self.continue_on_error or expired) and not self.stands(code)

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
    """How the workflow shows itself to agents. ``join`` is ``off``, ``running`` or a number of seconds."""

    wait: float = 10.0
    join: Literal["off", "running"] | float = "running"
    expose: Literal["auto", "tool", "none"] = "auto"
    """``auto``: a tool, unless there are too many of them."""
    destructive: bool | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One workflow, checked and compiled. Equal ``digest`` means equal content."""

    name: str
    title: str | None
    description: str
    content: str
    """The file as JSON, anchors resolved, keys in its order: what the store keeps and a run is pinned to."""
    digest: str
    """Of the content whatever the order of its keys."""
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
    """Its requests are GET or HEAD, and it does nothing else that reaches out of the run."""
    children: tuple[str, ...] = ()
    """Names of the workflows that its steps start."""
    destructive: bool = False
    """Some step (compensations aside) is DELETE, or the author says so. Of a loaded set, also some child's step."""
    asks_person: bool = False
    """Some approval is for a person to decide. Of a loaded set, also some child's."""
    source: str = ""
    """The file it came from, for messages."""
