"""Waiting for a run in a call: until it ends or needs something, and meanwhile asking the person at the client.

A run never depends on the call that waits for it. What a person is asked is asked until they answer, somebody else does, or
the call has lasted as long as a call may; after that the run still waits, and the next call that waits asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, InputRequiredResult, InputResponse
from pydantic import ValidationError

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.clock import Clock
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import InputRefused, RunRefused, SystemUnwell
from mcp_workflows.mcp_server.caller import Caller
from mcp_workflows.mcp_server.people.forms import answered
from mcp_workflows.mcp_server.people.person import VIA, Person, Round
from mcp_workflows.mcp_server.tools.durably import Durably
from mcp_workflows.mcp_server.views import refusals
from mcp_workflows.mcp_server.views.next_step import LONGEST_WAIT
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView

_TAKING_BACK_SECONDS = 1.0
"""A client that does not take the notice is not waited for longer."""


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a call came with its run."""

    view: RunView
    cut_short: str | None = None
    """Why it did not wait longer; said in place of what to do next."""
    remark: str | None = None
    """What became of asking the person, and the like; said before what to do next."""
    asking: InputRequiredResult | None = None
    """The client is to ask the person, and to call again."""


class Follower:
    """Waits in calls, and lets all of them answer when the service stops."""

    def __init__(self, runs: Runs, durably: Durably, clock: Clock, ways: Ways) -> None:
        self._runs = runs
        self._durably = durably
        self._clock = clock
        self._ways = ways
        self._waits: set[anyio.CancelScope] = set()
        self._stopping = False

    @property
    def waiting(self) -> int:
        """How many calls wait for their runs."""
        return len(self._waits)

    def stop(self) -> None:
        """Let waiting calls answer now."""
        self._stopping = True
        for scope in self._waits:
            scope.cancel()

    async def follow(self, view: RunView, seconds: float, caller: Caller, *, known: Collection[str] = ()) -> Followed:
        """Wait for what is durable already; if the service stops or is unwell meanwhile, say so and not fail.

        ``known``: waits for an answer that the caller knows of; any other one ends the waiting.
        """
        if seconds <= 0 or view.status.finished or view.status is RunStatus.PAUSED:
            return Followed(view)
        if self._stopping and not (caller.person is not None and caller.person.answers):
            return Followed(view, self._cut_short())
        if self._stopping:
            seconds = 0.0  # what the person answered is still taken
        scope = anyio.CancelScope()
        self._waits.add(scope)
        try:
            with scope:
                call = _Call(self._runs, self._durably, caller, view, _Times(self._clock, seconds), known)
                return await call.follow()
        except SystemUnwell as unwell:
            return Followed(view, refusals.unwell(unwell, discreet=caller.is_outside))
        finally:
            self._waits.discard(scope)
        return Followed(view, self._cut_short())

    def _cut_short(self) -> str:
        return refusals.stopping(ends_with_client=self._ways.now(self._runs).ends_with_client)


class _Times:
    """How long one call waits: for a run ``seconds`` at a time, and in all no longer than a client lets it."""

    def __init__(self, now: Clock, seconds: float) -> None:
        self.now = now
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self.last = self._clock() + LONGEST_WAIT
        self._until = self._clock() + seconds

    def begin(self, *, anew: bool) -> None:
        """``anew``: the run has something to go on with; else it is not waited for any more."""
        self._until = min(self._clock() + self._seconds, self.last) if anew else self._clock()

    def left(self) -> float:
        return max(self._until - self._clock(), 0.0)


class _Call:
    """One call that waits."""

    def __init__(
        self, runs: Runs, durably: Durably, caller: Caller, view: RunView, times: _Times, known: Collection[str]
    ) -> None:
        self._runs = runs
        self._durably = durably
        self._caller = caller
        self._times = times
        self._known = known
        self.view = view
        self._remarks: list[str] = []

    @property
    def remark(self) -> str | None:
        return " ".join(self._remarks) or None

    async def follow(self) -> Followed:
        person = self._caller.person
        waited = person is not None and person.round is not None and not await self._take_all(person, person.round)
        while True:
            waits = person.questions(self.view, self._times.now()) if person is not None else []
            if not waits or person is None or person.has_enough():
                if waited:
                    return Followed(self.view, remark=self.remark)
                await self._wait()
                waited = True
            elif person.elicit is None:
                return Followed(self.view, asking=person.ask(self.view, waits))
            else:
                waited = not await self._ask(person, waits[0])

    async def _take_all(self, person: Person, before: Round) -> bool:
        """What the person answered before this call was made again. Answers whether to wait for the run anew."""
        anew = False
        for wait in self.view.waiting_for:
            if wait.key in before.asked and wait.key in person.answers:
                anew |= await self._heard(person, wait, _elicited(person.answers[wait.key]))
        return anew

    async def _heard(self, person: Person, wait: Waiting, reply: ElicitResult | None) -> bool:
        """What the client says came of asking. Answers whether the wait is over."""
        if person.screen.shows_forms or reply is None or reply.action != "accept":
            return await self._take(person, wait, reply)
        person.leave_to_page(self.view, wait)  # which tells the run what was decided there
        if await self._until_over(wait, None):
            return True
        self._remarks.append(f"The person at this client opened the page for {wait.name} and has not decided yet.")
        return False

    async def _take(self, person: Person, wait: Waiting, reply: ElicitResult | None) -> bool:
        """Whether the wait is over."""
        if reply is None or reply.action != "accept":
            person.settled.add(wait.key)
            said = "did not answer" if reply is None or reply.action == "cancel" else "declined to answer"
            self._remarks.append(f"The person at this client was asked about {wait.name} and {said}.")
            return False
        try:
            data = answered(wait, reply.content or {})
            view = await self._durably.finish(
                self._runs.answer(
                    self.view.run_id,
                    wait.key,
                    data,
                    actor=self._caller.sees,
                    by=self._caller.actor,
                    via=VIA,
                    person=True,
                )
            )
        except InputRefused as refused:
            person.refused[wait.key] = str(refused)
            return False
        except RunRefused as refused:  # somebody else was faster, or the time is over
            self._remarks.append(str(refused))
            view = await self._runs.get(self.view.run_id, actor=self._caller.sees)
        person.settled.add(wait.key)  # though its owner may be slow to take the answer in
        self.view = replace(view, joined=self.view.joined)
        return True

    async def _wait(self) -> None:
        later = await self._runs.wait(
            self.view.run_id, actor=self._caller.sees, seconds=self._times.left(),
            known=self._known, on_progress=self._caller.on_progress,
        )  # fmt: skip
        self.view = replace(later, joined=self.view.joined)

    async def _ask(self, person: Person, wait: Waiting) -> bool:
        """Ask until there is an answer, or none is needed any more. Answers whether to wait for the run anew."""
        asking = asyncio.ensure_future(self._reply(person, wait))
        try:
            over = await self._until_over(wait, asking)
        finally:
            asking.cancel()  # an open question is taken back: its client is told that nobody waits for it
            with anyio.CancelScope(shield=True):  # also when the call itself was given up
                await asyncio.wait({asking}, timeout=_TAKING_BACK_SECONDS)
        if asking.done() and not asking.cancelled():
            again = wait.key in person.refused
            over = await self._heard(person, wait, asking.result())
            if again and not over:
                person.settled.add(wait.key)
        elif not over:  # it was asked for as long as a call may last
            person.settled.add(wait.key)
            return False
        self._times.begin(anew=over)
        self._known = () if over else self._known
        return over

    async def _until_over(self, wait: Waiting, asking: asyncio.Future[ElicitResult | None] | None) -> bool:
        """Wait until the run needs this no more, ``asking`` has an answer, or the call has lasted long enough.

        Answers whether it is the first of these.
        """
        changed = asyncio.Event()
        stop = await self._runs.follow(self.view.run_id, changed.set, actor=self._caller.sees)
        try:
            async with asyncio.timeout_at(self._times.last):
                while wait.key in {each.key for each in self.view.waiting_for}:
                    if await _first(asking, changed):
                        return False
                    self.view = replace(
                        await self._runs.get(self.view.run_id, actor=self._caller.sees), joined=self.view.joined
                    )
                    await self._caller.on_progress(self.view)
        except TimeoutError:
            return False
        finally:
            stop()
        return True

    async def _reply(self, person: Person, wait: Waiting) -> ElicitResult | None:
        assert person.elicit is not None
        try:
            return await person.elicit(self.view, wait, person.request(self.view, wait))
        except (MCPError, ValidationError):  # the client cannot, or will not: that decides nothing
            return None


async def _first(asking: asyncio.Future[ElicitResult | None] | None, changed: asyncio.Event) -> bool:
    """Whether there is an answer; else something changed."""
    changing = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait({changing} if asking is None else {asking, changing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        changing.cancel()
    changed.clear()
    return asking is not None and asking.done()


def _elicited(response: InputResponse) -> ElicitResult | None:
    """``None``: this answers another kind of question."""
    return response if isinstance(response, ElicitResult) else None
