"""A step, and what undoes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag

from mcp_workflows.definition.model.fields import (
    Condition,
    Duration,
    Json,
    Language,
    Maybe,
    OnError,
    PlainText,
    StepId,
)
from mcp_workflows.definition.model.http import Http
from mcp_workflows.definition.model.outcomes import FailOrText, Wait
from mcp_workflows.definition.model.retry import Retry

KINDS = ("http", "set", "wait", "return", "fail")
LATER_KINDS = frozenset(
    {"python", "worker", "mcp_tool", "jq", "workflow", "signal", "approval", "switch", "parallel", "for_each", "repeat"}
)
"""Kinds that the language has and this version has not."""


def _exactly_one_kind(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [kind]} for kind in KINDS]


class Work(Language):
    """The kinds of work: a step has exactly one. That is checked while compiling, where all of a step is at hand."""

    http: Maybe[Http] = Field(default=None, description="One HTTP request.")
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
    on_error: Maybe[OnError] = Field(
        default=None, description="continue: a failure of this step is not one of the run."
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

Step.model_rebuild()
