"""What a tool gave, as a value that later steps can read."""

from __future__ import annotations

from typing import Any

from mcp_types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

from mcp_workflows.definition.program import Json


def output_of(result: CallToolResult) -> Json:
    """The structured content if there is any, else the text."""
    return text_of(result) if result.structured_content is None else result.structured_content


def text_of(result: CallToolResult) -> str:
    """All texts, one a line; of what is no text, a note says that it was there."""
    return "\n".join(map(_text, result.content))


def tools_of(tools: list[Tool]) -> list[Json]:
    return [
        {"name": tool.name, "description": tool.description or "", "inputSchema": tool.input_schema} for tool in tools
    ]


def _text(block: Any) -> str:
    match block:
        case TextContent(text=text):
            return text
        case EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case EmbeddedResource(resource=resource):
            return f"[left out: {resource.mime_type or 'data'} at {resource.uri}]"
        case ImageContent() | AudioContent():
            return f"[left out: {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
        case ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case _:
            return f"[left out: {type(block).__name__}]"
