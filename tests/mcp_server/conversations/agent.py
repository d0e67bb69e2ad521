"""An agent in a conversation: what it says to the server, and everything that its model is shown of the answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mcp import Client

from tests.mcp_server.place import text_of


@dataclass(frozen=True)
class Like:
    """Equal to every text that the pattern describes from end to end: for what no test can know, such as an instant."""

    pattern: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    __hash__ = None  # type: ignore[assignment]


RUN_ID = Like("r_[0-9a-hjkmnp-tv-z]{26}")
INSTANT = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Failed:
    """An answer with ``isError``: clients show a model its one text alone. ``shown`` is that, read if it is JSON."""

    shown: Any


class Agent:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.tokens = 0
        """What its model was shown so far, at four characters a token."""

    async def says(self, tool: str, **arguments: Any) -> Any:
        """What a model sees of the answer. Of a success some clients show it the structure, others the text: both are one."""
        result = await self.client.call_tool(tool, arguments)
        text = text_of(result)
        self.tokens += -(-len(text) // 4)
        if not result.is_error:
            assert json.loads(text) == result.structured_content
            return result.structured_content
        if result.structured_content is None:
            assert len(text) <= 600
            return Failed(text)
        assert json.loads(text) == result.structured_content
        return Failed(result.structured_content)
