"""A server with the page, as ``serve --http`` puts it together, and what a browser without scripts does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx2

from mcp_workflows.access.links import PURPOSE, Links
from mcp_workflows.access.rate import Rate
from mcp_workflows.clock import utc_now
from mcp_workflows.mcp_server.server import WorkflowServer
from mcp_workflows.mcp_server.transport.http import base_url, listen, serve_http
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.web.pages import Pages
from tests.mcp_server.actors import Actors
from tests.mcp_server.place import Place, place

REFUND = """
name: refund_customer
title: Refund a customer
description: Looks the order up, asks a person how much is paid back, and pays it.
mcp: {wait: 20s}
input:
  required: [order]
  properties:
    order: {type: string}
vars: {CRM_URL: "http://127.0.0.1:1"}
steps:
  - id: order
    set: {total: 240, customer: "Ada <b>Lovelace</b>"}
  - id: approve
    approval:
      message: Refund order ${input.order} of ${steps.order.output.customer}?
      timeout: 2d
      form:
        required: [amount, reason, urgent, since]
        properties:
          amount: {type: number, minimum: 1, maximum: 240, description: In euro.}
          reason: {type: string, enum: [broken, late, other], title: Why}
          urgent: {type: boolean}
          since: {type: string, format: date, title: Return arrived}
          letter: {type: string, maxLength: 2000, title: What to write to the customer}
          days: {type: integer, default: 3}
output:
  decision: ${steps.approve.output}
"""
RIGHT = {
    "form.amount": "120,5", "form.reason": '"late"', "form.urgent": "yes", "form.since": "2026-11-20",
    "form.letter": "Dear Ada,\r\nsorry.", "form.days": "3", "note": "as agreed",
}  # fmt: skip


@dataclass
class Desk:
    """``base`` is the server's address; ``actors`` have tokens, where people need them."""

    here: Place
    base: str
    links: Links

    async def asked(self, workflow: str = "refund_customer", order: str = "o1") -> tuple[str, str]:
        """A run that waits for its person, and the link to the page."""
        given = {"order": order} if workflow == "refund_customer" else {}
        view = await self.here.app.runs.start(workflow, given, actor="anna", idempotency_key=None)
        view = await self.here.app.runs.wait(view.run_id, actor=None, seconds=20, known=())
        (wait,) = view.waiting_for
        return view.run_id, self.links.url(view.run_id, wait.key)

    async def result(self, run_id: str) -> Any:
        view = await self.here.app.runs.wait(run_id, actor=None, seconds=20)
        return view.result


@asynccontextmanager
async def desk(
    folder: Path, *, actors: Actors | None = None, text: str = REFUND, base: str | None = None, rate: Rate | None = None
) -> AsyncGenerator[Desk]:
    async with place(folder, {"asking": text}) as here:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        with listen("127.0.0.1", 0) as listener:
            at = base_url("127.0.0.1", listener)
            links = Links(here.app.runs.key(PURPOSE), base or at)
            here.server = WorkflowServer(here.app.runs, ways=Ways(links=links))
            authentication = actors and actors.authentication
            pages = Pages(here.app.runs, links, authentication and authentication.verifier, utc_now, rate).app()
            serving = asyncio.create_task(
                serve_http(
                    here.server, "127.0.0.1", 0, stop=stop, listener=listener, pages=pages,
                    authentication=authentication, listening=ready.set_result,
                )
            )  # fmt: skip
            await ready
            yield Desk(here, at, links)
            stop.set()
            await serving


@asynccontextmanager
async def visitor() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as client:
        yield client


def form_token(page: httpx2.Response) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    return found.group(1) if found else ""


def heading(page: httpx2.Response) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
    assert found, page.text
    return unescape(found.group(1))


async def decide(client: httpx2.AsyncClient, url: str, **given: Any) -> httpx2.Response:
    """Open the page, fill it in, and press a button."""
    page = await client.get(url)
    return await client.post(url, data={"form_token": form_token(page), **given})
