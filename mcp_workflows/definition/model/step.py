"""A step, and what undoes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag

from mcp_workflows.definition.model.approval import Approval
from mcp_workflows.definition.model.child import Child
from mcp_workflows.definition.model.fields import (
    BranchName,
    Condition,
    Duration,
    ItemName,
    Json,
    Language,
    Maybe,
    OnError,
    PlainText,
    StepId,
    Text,
    condition_at,
    one_of,
)
from mcp_workflows.definition.model.http import Http
from mcp_workflows.definition.model.jq import Jq
from mcp_workflows.definition.model.mcp_tool import McpTool
from mcp_workflows.definition.model.outcomes import FailOrText, Wait
from mcp_workflows.definition.model.python import Python
from mcp_workflows.definition.model.retry import Retry
from mcp_workflows.definition.model.signal import Signal

BLOCKS = ("switch", "parallel", "for_each", "repeat")
"""Kinds that hold steps."""
KINDS = (
    "http",
    "python",
    "mcp_tool",
    "jq",
    "workflow",
    "wait",
    "signal",
    "approval",
    "switch",
    "parallel",
    "for_each",
    "repeat",
    "set",
    "return",
    "fail",
)
LATER_KINDS = frozenset({"worker"})
"""Kinds that the language has and this version has not."""


def _exactly_one_kind(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [kind]} for kind in KINDS]


Steps: TypeAlias = "Annotated[list[Step], Field(min_length=1)]"


class Arm(Language):
    """One way that a switch, or the handling of a failure, may take; ``when`` or ``else`` is checked while compiling."""

    when: Maybe[Condition] = Field(default=None, description="The arm is taken where this is the first to give true.")
    steps: Maybe[Steps] = Field(default=None, description="Done one after another.")
    else_steps: Maybe[list[Step]] = Field(
        default=None, alias="else", description="Steps that are done if no other arm fits; the last arm."
    )
    output: Json = Field(default=None, description="What the arm gives, instead of its last step's output.")


class Case(Language):
    """What is done for one value."""

    steps: Maybe[Steps] = Field(default=None, description="Done one after another.")
    output: Json = Field(default=None, description="What the case gives, instead of its last step's output.")


def _form_of_case(value: Any) -> str:
    return "<steps>" if isinstance(value, list) else "<case>"


StepsOrCase: TypeAlias = Annotated[
    Annotated[Steps, Tag("<steps>")] | Annotated[Case, Tag("<case>")],
    Discriminator(_form_of_case),
]


class Cases(Language):
    """One of several lists of steps, chosen by a value."""

    value: Text = Field(description="An expression; the case that is its text is taken.")
    cases: Annotated[dict[str, StepsOrCase], Field(min_length=1)] = Field(description="Steps by the text of the value.")
    else_case: Maybe[StepsOrCase] = Field(default=None, alias="else", description="Taken if no case is.")


def _form_of_switch(value: Any) -> str:
    return "<arms>" if isinstance(value, list) else "<cases>"


Switch: TypeAlias = Annotated[
    Annotated[list[Arm], Tag("<arms>"), Field(min_length=1)] | Annotated[Cases, Tag("<cases>")],
    Discriminator(_form_of_switch),
]


class ForEach(Language):
    """Steps for each element of a list."""

    items: Json = Field(description="An expression that gives a list, or a list.")
    item_name: Maybe[ItemName] = Field(default=None, alias="as", description="What the steps call the element; item.")
    concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="How many at once.")
    steps: Steps = Field(description="Done one after another, for each element.")
    output: Json = Field(default=None, description="What one element gives, instead of its last step's output.")
    on_item_error: Annotated[Literal["fail", "collect"], one_of("value", "fail", "collect")] = Field(
        default="fail", description="collect: go on without the element; steps.<id>.errors tells."
    )


class Repeat(Language):
    """Steps again and again."""

    state: Json = Field(default=None, description="What the first iteration sees as state.")
    steps: Steps = Field(description="Done one after another, in each iteration.")
    next: Json = Field(default=None, description="The state of the next iteration.")
    collect: Json = Field(default=None, description="What each iteration adds to the list that is the output.")
    until: Maybe[Annotated[Condition, condition_at("until")]] = Field(
        default=None, description="An expression; where it gives true, that was the last."
    )
    every: Maybe[Duration] = Field(default=None, description="The time between two iterations.")
    max_iterations: Maybe[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        default=None, description="How many; with until, the step fails if these were not enough."
    )


def _form_of_on_error(value: Any) -> str:
    return "<arms>" if isinstance(value, list) else "<word>"


OnErrorOrArms: TypeAlias = Annotated[
    Annotated[OnError, Tag("<word>")] | Annotated[list[Arm], Tag("<arms>"), Field(min_length=1)],
    Discriminator(_form_of_on_error),
]


class Work(Language):
    """The kinds of work: a step has exactly one. That is checked while compiling, where all of a step is at hand."""

    http: Maybe[Http] = Field(default=None, description="One HTTP request.")
    python: Maybe[Python] = Field(default=None, description="A call of a registered function.")
    mcp_tool: Maybe[McpTool] = Field(default=None, description="A call of a tool of another MCP server.")
    jq: Maybe[Jq] = Field(default=None, description="A jq program, for reshaping that expressions cannot do.")
    workflow: Maybe[Child] = Field(default=None, description="A run of another workflow.")
    signal: Maybe[Signal] = Field(default=None, description="Waits for a message from outside.")
    approval: Maybe[Approval] = Field(default=None, description="Waits for somebody's decision.")
    switch: Maybe[Switch] = Field(default=None, description="One of several lists of steps.")
    parallel: Maybe[Annotated[dict[BranchName, Steps], Field(min_length=1)]] = Field(
        default=None, description="Lists of steps, all at once, by name."
    )
    for_each: Maybe[ForEach] = Field(default=None, description="Steps for each element of a list.")
    repeat: Maybe[Repeat] = Field(default=None, description="Steps again and again.")
    set_values: Maybe[dict[str, Json]] = Field(default=None, alias="set", description="Values from expressions.")
    wait: Maybe[Wait] = Field(default=None, description="A pause: 10m, or {until: ${…}}.")
    return_value: Json = Field(default=None, alias="return", description="Ends the run as completed, with this value.")
    fail: Maybe[FailOrText] = Field(default=None, description="Ends the run as failed, with this message.")

    @property
    def kinds(self) -> list[str]:
        """The kinds that were given, also those given as null."""
        names = {"return_value": "return", "set_values": "set"}
        given = {names.get(field, field) for field in self.model_fields_set}
        return [kind for kind in KINDS if kind in given]


class Step(Work):
    """One step."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    id: Maybe[StepId] = Field(default=None, description="Needed only if something names the step: steps.<id>.output.")
    title: Maybe[PlainText] = Field(default=None, description="For people who follow the run.")
    when: Maybe[Condition] = Field(default=None, description="An expression; the step is skipped where it gives false.")
    output: Json = Field(default=None, description="What the step's output is, with expressions on result.")
    retry: Maybe[Retry] = Field(default=None)
    timeout: Maybe[Duration] = Field(default=None, description="Of one attempt.")
    on_error: Maybe[OnErrorOrArms] = Field(
        default=None, description="continue: a failure of this step is not one of the run. Or arms that handle it."
    )
    compensate: Maybe[CompensationOrList] = Field(
        default=None, description="What undoes the step, if a later one fails for good."
    )
    at_most_once: bool = Field(default=False, description="Never make a second attempt unless a person says so.")


class Compensation(Work):
    """One piece of work that undoes a step."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    when: Maybe[Condition] = Field(default=None)
    retry: Maybe[Retry] = Field(default=None)
    timeout: Maybe[Duration] = Field(default=None, description="Of one attempt.")
    in_doubt: bool = Field(default=False, description="Also undo a step that failed and whose effect is unknown.")


def _form_of_compensation(value: Any) -> str:
    return "<steps>" if isinstance(value, list) else "<work>"


CompensationOrList = Annotated[
    Annotated[Compensation, Tag("<work>")] | Annotated[list[Step], Tag("<steps>"), Field(min_length=1)],
    Discriminator(_form_of_compensation),
]

for _model in (Arm, Case, Cases, ForEach, Repeat, Work, Step, Compensation):
    _model.model_rebuild()
