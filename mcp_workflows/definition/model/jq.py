"""``jq``: reshaping that expressions cannot do."""

from __future__ import annotations

from pydantic import Field

from mcp_workflows.definition.model.fields import JqFilter, Json, Language


class Jq(Language):
    """Runs a jq program in a confined process."""

    filter: JqFilter = Field(description="The program, as plain text. What it needs comes from input.")
    input: Json = Field(description="What the program is applied to, with expressions at the leaves.")
