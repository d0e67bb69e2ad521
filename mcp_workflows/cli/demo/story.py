"""The story: a customer is onboarded while the server is killed, and another is not, and everything is undone.

Nothing here waits for a time to pass. The moment to kill is read from the services' own log: the charge was made and its
answer is on its way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp import Client
from mcp_types import CallToolResult, TextContent
from rich.padding import Padding
from rich.text import Text

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.cli.demo.claims import Claim, Evidence, of_survival, of_undoing
from mcp_workflows.cli.demo.narrator import Narrator
from mcp_workflows.cli.demo.server import ServerProcess
from mcp_workflows.cli.timeline import Row, timeline
from mcp_workflows.clock import utc_now
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.runtime.views import RunQuery, Trace
from mcp_workflows.samples.calls import Call
from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.remote import Samples, started_samples
from mcp_workflows.settings import Settings

DEFINITIONS: Final = Path(__file__).parent / "definitions"
TOOL: Final = "onboard_customer"
ADA: Final = {"email": "ada@example.com", "plan": "pro"}
BOB: Final = {"email": "bob@example.com", "plan": "enterprise"}
_LONGEST_SECONDS: Final = 50


class Story:
    """One telling, in ``folder``. ``claims`` and ``evidence`` grow with the acts."""

    def __init__(self, folder: Path, narrator: Narrator, samples: Samples) -> None:
        self.database = folder / "runs.db"
        self.claims: list[Claim] = []
        self.evidence: list[Evidence] = []
        self._narrator = narrator
        self._samples = samples
        self._happened: list[Row] = []
        self._server = ServerProcess(DEFINITIONS, self.database, samples.variables)

    async def tell(self) -> None:
        """Both acts. The server is gone when this returns or raises."""
        try:
            await self._survive()
            await self._undo()
        finally:
            await self._server.stop()

    async def _survive(self) -> None:
        say = self._narrator.say
        self._narrator.act("1  A server is killed in the middle of a charge")
        await self._samples.misbehave(
            Fault("crm", "POST", "/accounts", "answer", status=503, headers={"Retry-After": "1"}),
            Fault("crm", "POST", "/accounts", "slow", seconds=0.6),
            Fault("billing", "POST", "/charges", "hold", done=True),
        )
        say("services", "CRM, billing and mail are up, and going to misbehave", "a process of their own")
        await self._start_server("is up")
        call = asyncio.create_task(self._call(ADA))
        try:
            await self._samples.wait_for(_charge_in_flight)
            run_id, killed_at = await self._kill()
            await self._server_gone(call)
        finally:
            call.cancel()
        await self._samples.behave()
        await self._samples.misbehave(Fault("mail", "POST", "/messages", "drop"))
        await self._start_server("is up again", "same command, same database")
        self._note("server", "good", "up again")
        self._narrator.say(
            "agent", "calls the same tool with the same input again", "its run id was lost with the call"
        )
        await self._follow(ADA)
        seen = await self._gather(run_id, ADA, killed_at=killed_at)
        self.claims += of_survival(seen, run_id)

    async def _undo(self) -> None:
        self._narrator.act("2  The last step fails for good")
        before = len(await self._samples.calls())
        refusal = {"error": "no mailbox of that name"}
        await self._samples.misbehave(
            Fault("mail", "POST", "/messages", "answer", status=422, body=refusal, times=None),
            Fault("billing", "POST", "/refunds", "answer", status=503),
        )
        self._narrator.value("agent", f"calls {TOOL}", BOB)
        told = await self._follow(BOB)
        seen = await self._gather(told["run_id"], BOB, first=before)
        self.claims += of_undoing(seen)

    def _note(self, name: str, style: str, text: str) -> None:
        """Something for the timeline that no run can know of itself."""
        now = utc_now()
        self._happened.append(Row(now, (name, now), Text("│", style), Text(name, style), "", Text(text), settled=True))

    async def _start_server(self, what: str, remark: str = "") -> None:
        await self._server.start()
        self._narrator.say("server", f"{what} at {self._server.url}", remark or f"pid {self._server.pid}")

    async def _kill(self) -> tuple[str, int]:
        """Kills the server while the charge is in flight. The run's id, and how many calls there had been."""
        trace = await self._newest_trace()
        recorded = [step.path for step in trace.steps if step.status is StepStatus.COMPLETED]
        self.claims.append(
            Claim("when the server was killed, exactly the account was on disk", recorded == ["account"])
        )
        killed_at, pid = len(await self._samples.calls()), self._server.pid
        await self._server.kill()
        self._note("SIGKILL", "bad", "the server died, the charge was in flight")
        self._narrator.say("SIGKILL", f"the server, pid {pid}, is gone", f"on disk: {', '.join(recorded)}")
        return trace.run.run_id, killed_at

    async def _server_gone(self, call: asyncio.Task[dict[str, Any]]) -> None:
        await asyncio.wait([call], timeout=10.0)
        broken = call.done() and call.exception() is not None
        self.claims.append(Claim("the agent's call broke with the server", broken))
        self._narrator.say("agent", "its call broke: no answer, no run id" if broken else "its call goes on?")

    async def _call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async with Client(self._server.url) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            self._narrator.say("agent", f"connects with the official MCP client and sees {', '.join(tools)}")
            self._narrator.value("agent", f"calls {TOOL}", arguments)
            return _told(await client.call_tool(TOOL, arguments))

    async def _follow(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Calls the tool and then ``get_run``, as an agent does, until there is nothing more to wait for."""
        async with Client(self._server.url) as client:
            told = _told(await client.call_tool(TOOL, arguments))
            if told.get("joined"):
                self._narrator.say("agent", f"is joined to {told['run_id']}", "the run that the first call had started")
            while told["status"] in {"pending", "running", "waiting", "compensating"}:
                self._narrator.say("agent", f"is told: {told['status']}", "and calls get_run with wait_seconds 50")
                arguments = {"run_id": told["run_id"], "wait_seconds": _LONGEST_SECONDS}
                told = _told(await client.call_tool("get_run", arguments))
        shown = {name: told[name] for name in ("status", "result", "compensation", "undone") if name in told}
        self._narrator.value("agent", f"is told: {shown.pop('status')}", shown)
        return told

    async def _gather(self, run_id: str, customer: dict[str, str], *, killed_at: int = 0, first: int = 0) -> Evidence:
        await self._samples.wait_for(lambda calls: not any(call.open for call in calls))
        calls = (await self._samples.calls())[first:]
        books = await self._samples.books()
        seen = Evidence(await self._trace(run_id), calls, books, customer["email"], killed_at)
        self.evidence.append(seen)
        self._narrator.show("")
        self._narrator.show(Padding(timeline(seen.trace, utc_now(), self._happened), (0, 0, 0, 2)))
        self._happened.clear()
        return seen

    async def _newest_trace(self) -> Trace:
        async with self._observer() as app:
            page = await app.runs.list(RunQuery(status="any", limit=1))
            return await app.runs.trace(page.runs[0].run_id, actor=None)

    async def _trace(self, run_id: str) -> Trace:
        async with self._observer() as app:
            return await app.runs.trace(run_id, actor=None)

    def _observer(self) -> AbstractAsyncContextManager[App]:
        settings = Settings(database_url=f"sqlite:///{self.database}")
        return built_app(settings, role=Role.OBSERVER)


@asynccontextmanager
async def told_story(folder: Path, narrator: Narrator) -> AsyncGenerator[Story]:
    """A story that was told, with all its processes still there for questions, and none of them afterwards."""
    async with started_samples() as samples:
        listening = asyncio.create_task(_narrate_calls(samples, narrator))
        try:
            story = Story(folder, narrator, samples)
            await story.tell()
            yield story
        finally:
            listening.cancel()
            await asyncio.wait([listening])


async def _narrate_calls(samples: Samples, narrator: Narrator) -> None:
    async for calls in samples.changes():
        narrator.calls(calls)


def _charge_in_flight(calls: Sequence[Call]) -> bool:
    return any(call.what == "billing POST /charges" and call.open and call.effect for call in calls)


def _told(result: CallToolResult) -> dict[str, Any]:
    """The run object, which is the structure of an answer and the text of an error."""
    if result.structured_content is not None:
        return dict(result.structured_content)
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    return json.loads(text)
