"""``signal``: waiting for a message from outside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_workflows.definition.model.fields import Duration, Json, Language, Maybe, SignalName, one_of


class Signal(Language):
    """Waits for a message; its data is the output."""

    name: Maybe[SignalName] = Field(default=None, description="What the message is called; the step's id, if left out.")
    data_schema: Maybe[dict[str, Json]] = Field(
        default=None, alias="schema", description="JSON Schema of the message's data, which is an object."
    )
    timeout: Maybe[Duration] = Field(default=None, description="How long it is waited for. For ever, if left out.")
    on_timeout: Maybe[Annotated[Literal["fail", "continue"], one_of("signal", "fail", "continue")]] = Field(
        default=None, description="continue: without a message the step has no output."
    )
