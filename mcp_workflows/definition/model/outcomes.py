"""``wait``, ``return`` and ``fail``; ``set`` is a mapping and needs no model of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from mcp_workflows.definition.model.fields import Duration, Json, Language, Maybe, Text, one_of

OnFailure: TypeAlias = Annotated[Literal["compensate", "pause", "fail"], one_of("value", "compensate", "pause", "fail")]


class WaitUntil(Language):
    """A pause until an instant."""

    until: Text = Field(description="An expression that gives an instant, or ISO 8601 text.")


def _form_of_wait(value: Any) -> str:
    return "<until>" if isinstance(value, dict) else "<duration>"


Wait: TypeAlias = Annotated[
    Annotated[Duration, Tag("<duration>")] | Annotated[WaitUntil, Tag("<until>")],
    Discriminator(_form_of_wait),
]


class Fail(Language):
    """Ends the run as failed."""

    message: Text = Field(description="What went wrong, for whoever started the run.")
    code: Maybe[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]] = Field(
        default=None, description="A short word that callers can test for."
    )
    details: Json = Field(default=None, description="Anything more, with expressions at the leaves.")
    on_failure: Maybe[OnFailure] = Field(default=None, description="Instead of the run's.")


def _form_of_fail(value: Any) -> str:
    return "<fail>" if isinstance(value, dict) else "<message>"


FailOrText: TypeAlias = Annotated[
    Annotated[Text, Tag("<message>")] | Annotated[Fail, Tag("<fail>")],
    Discriminator(_form_of_fail),
]
