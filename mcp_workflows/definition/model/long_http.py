"""``poll`` and ``callback``: requests whose answer comes later."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mcp_workflows.definition.model.fields import (
    Condition,
    Duration,
    Json,
    Language,
    Maybe,
    Method,
    Text,
    condition_at,
    only_true,
)


class Poll(Language):
    """What is asked after the first answer, again and again."""

    url: Maybe[Text] = Field(default=None, description="A whole URL, such as ${result.headers.location}.")
    path: Maybe[Text] = Field(default=None, description="After the service's base_url, instead of url.")
    method: Method = Field(default="GET")
    headers: Maybe[dict[str, Json]] = Field(default=None)
    every: Maybe[Duration] = Field(default=None, description="Between two questions; 5s. Retry-After wins over it.")
    timeout: Maybe[Duration] = Field(default=None, description="Of the asking, from the first answer. None by default.")
    until: Annotated[Condition, condition_at("until")] = Field(
        description="An expression on the last answer; where it gives true, the step is done."
    )
    fail_when: Maybe[Annotated[Condition, condition_at("fail_when")]] = Field(
        default=None, description="An expression on the last answer; where it gives true, the step has failed."
    )


class Callback(Language):
    """The step is done when callback_url is called."""

    timeout: Maybe[Duration] = Field(default=None, description="From the answer to the request. None by default.")


def _form_of_callback(value: Any) -> str:
    return "<callback>" if isinstance(value, dict) else "<true>"


CallbackOrTrue = Annotated[
    Annotated[Literal[True], only_true("http", "callback is true or {timeout: 1h}"), Tag("<true>")]
    | Annotated[Callback, Tag("<callback>")],
    Discriminator(_form_of_callback),
]
