"""``workflow``: a run of another workflow."""

from __future__ import annotations

from pydantic import Field

from mcp_workflows.definition.model.fields import ChildName, Language, Maybe, ObjectOrExpression


class Child(Language):
    """Starts another workflow and waits for its end; its result is the output."""

    name: ChildName = Field(description="The name of a workflow that is loaded here.")
    input: Maybe[ObjectOrExpression] = Field(default=None, description="Its input.")
    detach: bool = Field(default=False, description="true: only start it, and go on at once.")
