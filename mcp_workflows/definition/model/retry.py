"""``retry``: when a failed attempt is made again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_workflows.definition.model.fields import Delay, Duration, Language, RetriedOn, one_of


class Retry(Language):
    """When a failed attempt is made again. What is left out is taken from the file's defaults."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="All attempts together, the first included."
    )
    backoff: (
        Annotated[Literal["fixed", "linear", "exponential"], one_of("value", "fixed", "linear", "exponential")] | None
    ) = Field(None, description="How the delay grows from attempt to attempt.")
    delay: Delay | None = Field(None, description="Before the second attempt.")
    max_delay: Duration | None = Field(None, description="No delay grows beyond this.")
    jitter: bool | None = Field(
        None, description="Spread delays at random, so that many runs do not come back at once."
    )
    conditions: list[RetriedOn] | None = Field(
        None, alias="for", description="What is tried again: connect, timeout, statuses, or error codes."
    )
    give_up_after: Duration | None = Field(None, description="No new attempt after this time since the first one.")
