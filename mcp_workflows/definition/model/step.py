"""A step, and what undoes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag

from mcp_workflows.definition.model.fields import Condition, Duration, Json, Language, OnError, StepId, Text
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

    http: Http | None = Field(None, description="One HTTP request.")
    set_values: dict[str, Json] | None = Field(None, alias="set", description="Values from expressions.")
    wait: Wait | None = Field(None, description="A pause: 10m, or {until: ${…}}.")
    return_value: Json = Field(None, alias="return", description="Ends the run as completed, with this value.")
    fail: FailOrText | None = Field(None, description="Ends the run as failed, with this message.")

    @property
    def kinds(self) -> list[str]:
        """The kinds that were given, also those given as null."""
        names = {"return_value": "return", "set_values": "set"}
        given = {names.get(field, field) for field in self.model_fields_set}
        return [kind for kind in KINDS if kind in given]


class Step(Work):
    """One step."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    id: StepId | None = Field(None, description="Needed only if something names the step: steps.<id>.output.")
    title: Text | None = Field(None, description="For people who follow the run.")
    when: Condition | None = Field(None, description="An expression; the step is skipped where it gives false.")
    output: Json = Field(None, description="What the step's output is, with expressions on result.")
    retry: Retry | None = Field(None)
    timeout: Duration | None = Field(None, description="Of one attempt.")
    on_error: OnError | None = Field(None, description="continue: a failure of this step is not one of the run.")
    compensate: CompensationOrList | None = Field(
        None, description="What undoes the step, if a later one fails for good."
    )
    at_most_once: bool = Field(False, description="Never make a second attempt unless a person says so.")


class Compensation(Work):
    """One piece of work that undoes a step."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    when: Condition | None = Field(None)
    retry: Retry | None = Field(None)
    timeout: Duration | None = Field(None, description="Of one attempt.")
    in_doubt: bool = Field(False, description="Also undo a step that failed and whose effect is unknown.")


def _form_of_compensation(value: Any) -> str:
    return "<steps>" if isinstance(value, list) else "<work>"


CompensationOrList = Annotated[
    Annotated[Compensation, Tag("<work>")] | Annotated[list[Step], Tag("<steps>"), Field(min_length=1)],
    Discriminator(_form_of_compensation),
]

Step.model_rebuild()
