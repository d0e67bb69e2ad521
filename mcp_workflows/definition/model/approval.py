"""``approval``: waiting for somebody's decision."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mcp_workflows.definition.model.fields import Duration, Json, Language, Maybe, Text, one_of


def _form_of_approvers(value: Any) -> str:
    return "<actors>" if isinstance(value, list) else "<expression>"


Approvers = Annotated[
    Annotated[list[Text], Tag("<actors>"), Field(min_length=1)] | Annotated[Text, Tag("<expression>")],
    Discriminator(_form_of_approvers),
]


class Approval(Language):
    """Waits for a decision: approved or rejected."""

    message: Text = Field(description="What is to be decided, for whoever decides.")
    form: Maybe[dict[str, Json]] = Field(
        default=None, description="JSON Schema of what the answer says besides the decision."
    )
    approvers: Maybe[Approvers] = Field(
        default=None, description="Who may decide: a list of actors, or an expression that gives one."
    )
    by: Maybe[Annotated[Literal["person", "anyone"], one_of("approval", "person", "anyone")]] = Field(
        default=None, description="anyone: agents may decide too."
    )
    timeout: Maybe[Duration] = Field(default=None, description="How long it is waited for. For ever, if left out.")
    on_reject: Maybe[Annotated[Literal["fail", "continue"], one_of("approval", "fail", "continue")]] = Field(
        default=None, description="continue: a rejection is an output like another."
    )
    on_timeout: Maybe[Annotated[Literal["fail", "reject"], one_of("approval", "fail", "reject")]] = Field(
        default=None, description="reject: silence is a rejection."
    )
