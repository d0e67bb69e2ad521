"""``retry``: when a failed attempt is made again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_workflows.definition.model.fields import Delay, Duration, Language, Maybe, RetriedOn, one_of


class Retry(Language):
    """When a failed attempt is made again. What is left out is taken from the file's defaults."""

    max_attempts: Maybe[Annotated[int, Field(ge=1, le=1000)]] = Field(
        default=None, description="All attempts together, the first included."
    )
    backoff: Maybe[
        Annotated[Literal["fixed", "linear", "exponential"], one_of("value", "fixed", "linear", "exponential")]
    ] = Field(default=None, description="How the delay grows from attempt to attempt.")
    delay: Maybe[Delay] = Field(default=None, description="Before the second attempt.")
    max_delay: Maybe[Duration] = Field(default=None, description="No delay grows beyond this.")
    jitter: Maybe[bool] = Field(
        default=None, description="Spread delays at random, so that many runs do not come back at once."
    )
    conditions: Maybe[list[RetriedOn]] = Field(
        default=None, alias="for", description="What is tried again: connect, timeout, statuses, or error codes."
    )
    give_up_after: Maybe[Duration] = Field(
        default=None, description="No new attempt after this time since the first one."
    )
