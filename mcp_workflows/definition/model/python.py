"""``python``: a function in the server's own process."""

from __future__ import annotations

from pydantic import Field

from mcp_workflows.definition.model.fields import FunctionName, Language, Maybe, ObjectOrExpression


class Python(Language):
    """Calls a registered function; what it returns is the output."""

    call: FunctionName = Field(description="The function's name, as it was registered.")
    args: Maybe[ObjectOrExpression] = Field(default=None, description="Its arguments, by name.")
