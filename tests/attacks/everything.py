"""All that can be asked of one run, in both eras."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.attacks.stage import Stage
from tests.attacks.wire import TASKS, Wire, call, legacy, message, wire

ANSWER = {"decision": "approved"}

TOOLS: list[tuple[str, dict[str, Any]]] = [
    ("get_run", {}),
    ("get_run", {"wait_seconds": 1}),
    *(("get_run", {"select": part}) for part in ("result", "input", "error", "steps", "trace", "steps.ask.output")),
    ("signal_run", {"name": "ask", "data": ANSWER}),
    ("signal_run", {"name": "nothing"}),
    ("resume_run", {}),
    ("resume_run", {"skip": True, "reason": "why not"}),
    ("cancel_run", {}),
    ("cancel_run", {"compensate": False}),
]

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("tasks/get", {"taskId": "ID"}),
    ("tasks/update", {"taskId": "ID", "inputResponses": {"ask#1": {"action": "accept", "content": ANSWER}}}),
    ("tasks/cancel", {"taskId": "ID"}),
    ("resources/read", {"uri": "run://ID"}),
    ("resources/read", {"uri": "run://ID/result"}),
    ("prompts/get", {"name": "diagnose_run", "arguments": {"run_id": "ID"}}),
    *(
        ("completion/complete", {"ref": ref, "argument": {"name": "run_id", "value": "ID"}})
        for ref in (
            {"type": "ref/resource", "uri": "run://{run_id}"},
            {"type": "ref/resource", "uri": "run://{run_id}/result"},
            {"type": "ref/prompt", "name": "diagnose_run"},
        )
    ),
]

LEGACY_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("resources/subscribe", {"uri": "run://ID"}),
    ("resources/subscribe", {"uri": "run://ID/result"}),
    ("resources/unsubscribe", {"uri": "run://ID"}),
]


def about(value: Any, run_id: str) -> Any:
    return json.loads(json.dumps(value).replace("ID", run_id))


async def said(on: Wire, body: Any, headers: dict[str, str], run_id: str) -> tuple[Any, ...]:
    """The whole answer, but for the run's id."""
    on.request(body, headers)
    head = await on.until(b"\r\n\r\n")
    chunked = b"transfer-encoding: chunked" in head.lower()
    length = re.search(rb"content-length: (\d+)", head.lower())
    content = await on.until(b"0\r\n\r\n") if chunked else await on.reader.readexactly(int(length[1]) if length else 0)
    head = re.sub(rb"(?i)(date|content-length): [^\r]*\r\n", b"", head)
    content = re.sub(rb"(?m)^[0-9a-f]+\r\n", b"", content) if chunked else content
    return head, content.decode().replace(run_id, "ID")


async def everything(on: Stage, eve: Wire, actor: str, run_id: str, session: str) -> dict[str, tuple[Any, ...]]:
    """All that can be asked of a run."""
    who = on.header(actor)
    found: dict[str, tuple[Any, ...]] = {}
    for tool, given in TOOLS:
        found[f"{tool} {given}"] = await said(eve, call(tool, run_id=run_id, **given), who, run_id)
        body = legacy(tool, run_id=run_id, **given)
        found[f"{tool} {given} 2025"] = await said(eve, body, {**who, "Mcp-Session-Id": session}, run_id)
    for method, params in METHODS:
        body = message(method, about(params, run_id), meta=TASKS)
        found[f"{method} {params}"] = await said(eve, body, who, run_id)
    for method, params in [*METHODS[3:], *LEGACY_ONLY]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": about(params, run_id)}
        found[f"{method} {params} 2025"] = await said(eve, body, {**who, "Mcp-Session-Id": session}, run_id)
    listened = {"resourceSubscriptions": [f"run://{run_id}", f"run://{run_id}/result"], "taskIds": [run_id]}
    async with wire(on.url) as stream:
        stream.request(message("subscriptions/listen", {"notifications": listened}, meta=TASKS), who)
        found["listen"] = ((await stream.until(b"}}}")).partition(b"data: ")[2],)
    return found
