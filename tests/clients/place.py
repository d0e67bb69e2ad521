"""What every client is led through: a workflow that takes a moment, asks a person, and ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.mcp_server.place import place

ORDER = """
name: order
description: Orders what is asked for, once a person agrees.
input: {required: [item], properties: {item: {type: string}}}
mcp: {wait: 5s}
steps:
  - wait: 600ms
  - id: agree
    approval:
      message: Order ${input.item}?
      form: {required: [amount], properties: {amount: {type: integer, minimum: 1}}}
output: {item: "${input.item}", amount: "${steps.agree.output.form.amount}", by: "${steps.agree.output.by}"}
"""
ANSWER = {"decision": "approved", "amount": 3}
RESULT = {"item": "a desk", "amount": 3, "by": "local"}
RUN_TOOLS = ["get_run", "list_runs", "signal_run", "resume_run", "cancel_run"]


@asynccontextmanager
async def ordering(folder: Path) -> AsyncGenerator[str]:
    """The URL of a server that takes orders."""
    async with place(folder, {"order": ORDER}) as here, here.listening() as url:
        yield url


def command(folder: Path) -> list[str]:
    """Starts such a server on stdio."""
    definitions = folder / "definitions"
    definitions.mkdir(exist_ok=True)
    (definitions / "order.yaml").write_text(ORDER, "utf-8")
    return ["-m", "mcp_workflows", "serve", str(definitions)]
