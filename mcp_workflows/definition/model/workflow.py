"""A whole file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from mcp_workflows.definition.model.fields import (
    Duration,
    Json,
    Language,
    SettingName,
    Text,
    WorkflowName,
    one_of,
)
from mcp_workflows.definition.model.http import Auth
from mcp_workflows.definition.model.outcomes import OnFailure
from mcp_workflows.definition.model.retry import Retry
from mcp_workflows.definition.model.step import Step


class Service(Language):
    """What the http steps that name it share."""

    base_url: Text = Field(description="What paths are put after, as ${vars.CRM_URL}.")
    auth: Auth | None = Field(None)
    headers: dict[str, Json] | None = Field(None)
    timeout: Duration | None = Field(None, description="Of one attempt; 30s if nothing says otherwise.")
    connect_timeout: Duration | None = Field(None, description="10s if nothing says otherwise.")


class Defaults(Language):
    """For every step that does not say otherwise."""

    retry: Retry | None = Field(None)
    timeout: Duration | None = Field(None, description="Of one attempt.")


def _form_of_join(value: Any) -> str:
    return "<word>" if value in ("off", "running") else "<duration>"


class Mcp(Language):
    """How the workflow shows itself to agents."""

    wait: Duration | None = Field(None, description="How long the call waits for the run's end before it answers; 10s.")
    join: (
        Annotated[
            Annotated[Literal["off", "running"], Tag("<word>")] | Annotated[Duration, Tag("<duration>")],
            Discriminator(_form_of_join),
        ]
        | None
    ) = Field(
        None, description="Whether the same call joins the run that is still going: off, running, or for how long."
    )
    expose: Annotated[Literal["tool", "none"], one_of("value", "tool", "none")] | None = Field(
        None, description="none: no tool is published."
    )
    destructive: bool | None = Field(None, description="Whether clients should warn before they call it.")


class Workflow(Language):
    """A workflow: one file, one tool."""

    model_config = ConfigDict(
        title="Workflow", json_schema_extra={"patternProperties": {"^x-": {"description": "A place for anchors."}}}
    )

    name: WorkflowName = Field(description="Also the tool's name.")
    title: Text | None = Field(None, description="For people.")
    description: Text = Field("", description="For the agent that will call it.")
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
    timeout: Duration | None = Field(None, description="Of the whole run.")
    on_failure: OnFailure = Field("compensate", description="What happens when a step fails for good.")
    defaults: Defaults = Field(default_factory=Defaults)
    steps: Annotated[list[Step], Field(min_length=1)] = Field(description="Done one after another.")
    output: Json = Field(None, description="The run's result, with expressions at the leaves.")
    output_schema: dict[str, Json] | None = Field(
        None, description="JSON Schema of the result, for the tool's outputSchema."
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
