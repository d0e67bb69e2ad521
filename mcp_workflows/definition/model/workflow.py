"""A whole file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from mcp_workflows.definition.durations import PATTERN, parse_duration
from mcp_workflows.definition.model.fields import (
    Delay,
    Duration,
    Json,
    Language,
    Maybe,
    PlainText,
    SettingName,
    Text,
    WorkflowName,
    one_of,
    refuse,
)
from mcp_workflows.definition.model.http import Auth
from mcp_workflows.definition.model.outcomes import OnFailure
from mcp_workflows.definition.model.retry import Retry
from mcp_workflows.definition.model.step import Step
from mcp_workflows.definition.phrases import describe


def _one_target(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["base_url"]}, {"required": ["mcp"]}]


class Service(Language):
    """What the steps that name it share: ``http`` steps where it has a base_url, ``mcp_tool`` steps where it has mcp."""

    model_config = ConfigDict(json_schema_extra=_one_target)

    base_url: Maybe[Text] = Field(default=None, description="What paths are put after, as ${vars.CRM_URL}.")
    mcp: Maybe[Text] = Field(
        default=None,
        description="An MCP server, instead of base_url: its URL, or the name of a server in the settings.",
    )
    auth: Maybe[Auth] = Field(default=None)
    headers: Maybe[dict[str, Json]] = Field(default=None)
    timeout: Maybe[Duration] = Field(default=None, description="Of one attempt; 30s if nothing says otherwise.")
    connect_timeout: Maybe[Duration] = Field(default=None, description="10s if nothing says otherwise.")


class Defaults(Language):
    """For every step that does not say otherwise."""

    retry: Maybe[Retry] = Field(default=None)
    timeout: Maybe[Duration] = Field(default=None, description="Of one attempt.")


def _join(value: object) -> object:
    if value in ("off", "running"):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise refuse("value", f"{describe(value)} is not off, running or a duration: {error}") from None


Join: TypeAlias = Annotated[
    Literal["off", "running"] | float,
    PlainValidator(_join),
    WithJsonSchema({"anyOf": [{"enum": ["off", "running"]}, {"type": "string", "pattern": PATTERN}]}),
]


class Mcp(Language):
    """How the workflow shows itself to agents."""

    wait: Maybe[Delay] = Field(
        default=None, description="How long the call waits for the run's end before it answers; 10s."
    )
    join: Maybe[Join] = Field(
        default=None,
        description="Whether the same call joins the run that is still going: off, running, or for how long.",
    )
    expose: Maybe[Annotated[Literal["tool", "none"], one_of("value", "tool", "none")]] = Field(
        default=None,
        description="none: agents do not see it. tool: a tool of its own, however many workflows there are.",
    )
    destructive: Maybe[bool] = Field(default=None, description="Whether clients should warn before they call it.")


class Workflow(Language):
    """A workflow: one file, one tool."""

    model_config = ConfigDict(
        title="Workflow", json_schema_extra={"patternProperties": {"^x-": {"description": "A place for anchors."}}}
    )

    name: WorkflowName = Field(description="Also the tool's name.")
    title: Maybe[PlainText] = Field(default=None, description="For people.")
    description: Text = Field(default="", description="For the agent that will call it.")
    input: dict[str, Json] = Field(
        default_factory=dict[str, Json], description="JSON Schema 2020-12 of the arguments; type: object is implied."
    )
    vars: dict[SettingName, Json] = Field(
        default_factory=dict[str, Json],
        description="The deployment's plain settings with their defaults; MCP_WORKFLOWS_VAR_<NAME> overrides.",
    )
    secrets: list[SettingName] = Field(
        default_factory=list[str], description="Names; the values come from MCP_WORKFLOWS_SECRET_<NAME> or a file."
    )
    services: dict[str, Service] = Field(default_factory=dict[str, Service], description="What http steps share.")
    timeout: Maybe[Duration] = Field(default=None, description="Of the whole run.")
    on_failure: OnFailure = Field(default="compensate", description="What happens when a step fails for good.")
    defaults: Defaults = Field(default_factory=Defaults)
    steps: Annotated[list[Step], Field(min_length=1)] = Field(description="Done one after another.")
    output: Json = Field(default=None, description="The run's result, with expressions at the leaves.")
    output_schema: Maybe[dict[str, Json]] = Field(
        default=None, description="JSON Schema of the result, for the tool's outputSchema."
    )
    mcp: Mcp = Field(default_factory=Mcp)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_extensions(cls, value: object) -> object:
        """``x-…`` is a place for anchors; what stands there is read through them."""
        if not isinstance(value, dict):
            return value
        mapping = cast("dict[str, object]", value)
        return {key: part for key, part in mapping.items() if not re.match(r"x-", key)}
