"""What happens to the servers and to their database. The dice of a seed choose; every act is written down."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.postgres import PostgresServer
from tests.soak.audit import Base
from tests.soak.cluster import Slot
from tests.soak.judging import Judging
from tests.soak.wire import Wire

ENDS_A_NODE = b"crashed=true"
STRIDE_SECONDS, HELD_UP_SECONDS = 0.03, 0.12
"""How long who is slow goes on, and stands still."""
TRIES = 8
"""Who is stopped while it writes keeps the others from finding it silent, or from saying so: then once more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Act:
    """``began`` and ``ended`` by the wall clock."""

    what: str
    to: str
    began: float
    ended: float


@dataclass
class Monkey:
    """Does one thing after the other. ``pause`` is awaited before each, and lasts until some work was done.

    ``wires`` lead from the slots to ``postgres``; without them the database is a file.
    """

    dice: random.Random
    slots: Sequence[Slot]
    lease_seconds: float
    pause: Callable[[], Awaitable[None]]
    judging: Judging
    base: Base
    wires: Sequence[Wire] = ()
    postgres: PostgresServer | None = None
    acts: list[Act] = field(default_factory=list[Act])

    async def play(self) -> None:
        """Until cancelled; then everything is as it should be again."""
        deeds = [self.kill, self.kill, self.freeze_for_long, self.freeze_for_long, self.freeze_briefly, self.restart]
        deeds += [self.freeze_at_the_edge, self.freeze_at_the_edge, self.wake_when_judged, self.wake_when_judged]
        if self.wires:
            deeds += [self.cut, self.cut_for_long, self.cut_for_long, self.stall, self.end_connections]
            deeds += [self.wake_while_it_is_said, self.wake_while_it_is_said]
        if self.postgres is not None:
            deeds += [self.restart_database, self.crash_database]
        waiting: list[Callable[[Slot], Awaitable[bool | None]]] = []
        while True:
            if not waiting:  # each of them comes up before any comes up again
                waiting = self.dice.sample(deeds, len(deeds))
            await self.pause()
            deed = waiting.pop()
            slot = self.dice.choice(self.slots)
            began, label, came_off = time.time(), slot.label, None
            try:
                came_off = await deed(slot)
            finally:
                what = f"{deed.__name__} in vain" if came_off is False else deed.__name__
                self.acts.append(Act(what, label, began, time.time()))

    async def kill(self, slot: Slot) -> None:
        slot.send(signal.SIGKILL)

    async def restart(self, slot: Slot) -> None:
        await slot.stop()

    async def freeze_briefly(self, slot: Slot) -> None:
        await self._freeze(slot, self.dice.uniform(0.1, self.lease_seconds / 2))

    async def freeze_for_long(self, slot: Slot) -> bool:
        """Others take over what it has; then it wakes up."""
        return await self._several_times(self._freeze_until_ended, slot)

    async def freeze_at_the_edge(self, slot: Slot) -> None:
        """For about as long as it takes the others to believe that it is dead: it wakes up while they make up their minds,
        which they do slowly.
        """
        until = time.monotonic() + self.lease_seconds * self.dice.uniform(0.8, 1.1)
        slow = time.monotonic() + self.lease_seconds * 0.6
        others = [other for other in self.slots if other is not slot]
        slot.send(signal.SIGSTOP)
        try:
            while (now := time.monotonic()) < until + self.lease_seconds * 0.2:
                if now >= until:
                    slot.send(signal.SIGCONT)
                if now >= slow:
                    await self._hold_up(others)
                await asyncio.sleep(STRIDE_SECONDS)
        finally:
            for each in self.slots:
                each.send(signal.SIGCONT)

    async def wake_when_judged(self, slot: Slot) -> bool:
        """It is found to be silent, and before anybody goes about saying so it wakes up and writes."""
        return await self._several_times(self._freeze_until_judged, slot)

    async def wake_while_it_is_said(self, slot: Slot) -> bool:
        """It is found to be silent, and while that is on its way to the database it wakes up and writes."""
        node = await asyncio.to_thread(self._node, slot)
        others = [self._wire(other) for other in self.slots if other is not slot]
        heard = [asyncio.create_task(wire.catch(ENDS_A_NODE).wait()) for wire in others]
        slot.send(signal.SIGSTOP)
        try:
            await asyncio.wait(heard, timeout=self.lease_seconds * 2, return_when=asyncio.FIRST_COMPLETED)
            said = any(task.done() for task in heard)
            written = await asyncio.to_thread(self._beat, node)
            slot.send(signal.SIGCONT)
            return await self._writes(node, written) and said
        finally:
            slot.send(signal.SIGCONT)
            for wire in others:
                wire.let_through()
            for task in heard:
                task.cancel()

    async def cut(self, slot: Slot) -> None:
        await self._cut(slot, self.dice.uniform(0.0, self.lease_seconds / 2))

    async def cut_for_long(self, slot: Slot) -> None:
        await self._cut(slot, self.lease_seconds * self.dice.uniform(1.5, 2.0) + 2)

    async def stall(self, slot: Slot) -> None:
        way = self._wire(slot)
        way.stall()
        try:
            await asyncio.sleep(self.dice.uniform(0.5, self.lease_seconds * 2))
        finally:
            await way.connect()

    async def end_connections(self, slot: Slot) -> None:
        assert self.postgres is not None
        await asyncio.to_thread(_end_connections, self.postgres)

    async def restart_database(self, slot: Slot) -> None:
        await self._stop_database(signal.SIGINT)

    async def crash_database(self, slot: Slot) -> None:
        await self._stop_database(signal.SIGQUIT)

    def _wire(self, slot: Slot) -> Wire:
        return self.wires[self.slots.index(slot)]

    def _node(self, slot: Slot) -> str | None:
        """The node that runs there."""
        found = self.base.read(f"SELECT node_id FROM node WHERE pid = {slot.pid or 0} AND ended_at IS NULL")
        return found[0][0] if found else None

    def _beat(self, node: str | None) -> int | None:
        """The number of its last commit; ``None``: it has ended."""
        found = self.base.read(f"SELECT beat FROM node WHERE node_id = '{node}' AND ended_at IS NULL")
        return found[0][0] if found else None

    async def _writes(self, node: str | None, before: int | None) -> bool:
        return await self._once(lambda: self._beat(node) != before, self.lease_seconds / 2)

    async def _others_write(self, node: str) -> bool:
        """Nobody does as long as the lock of a file is held by who was stopped."""
        beats = f"SELECT sum(beat) FROM node WHERE node_id <> '{node}'"
        [before] = await asyncio.to_thread(self.base.read, beats)
        return await self._once(lambda: self.base.read(beats) != [before], self.lease_seconds / 2)

    async def _once(self, ask: Callable[[], T], seconds: float) -> T:
        """Asks for what servers do until they have done it, or the time is over. The last answer."""
        until = time.monotonic() + seconds
        while not (answer := await asyncio.to_thread(ask)) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(STRIDE_SECONDS)
        return answer

    async def _several_times(self, attempt: Callable[[Slot, str], Awaitable[bool]], slot: Slot) -> bool:
        for _ in range(TRIES):
            node = await self._once(lambda: self._node(slot), self.lease_seconds * 2)
            if node is not None and await attempt(slot, node):
                return True
            await self._writes(node, await asyncio.to_thread(self._beat, node))
        return False

    async def _freeze_until_ended(self, slot: Slot, node: str) -> bool:
        slot.send(signal.SIGSTOP)
        try:
            if not await self._others_write(node):
                return False
            ended = await self._once(lambda: self._beat(node) is None, self.lease_seconds * 2 + 2)
            await asyncio.sleep(self.dice.uniform(0.0, self.lease_seconds / 2))
            return ended
        finally:
            slot.send(signal.SIGCONT)

    async def _freeze_until_judged(self, slot: Slot, node: str) -> bool:
        with self.judging.held_up(node) as found_silent:
            slot.send(signal.SIGSTOP)
            try:
                judged = await self._others_write(node) and await self._once(found_silent, self.lease_seconds * 2)
                written = await asyncio.to_thread(self._beat, node)
            finally:
                slot.send(signal.SIGCONT)
            return await self._writes(node, written) and judged

    async def _freeze(self, slot: Slot, seconds: float) -> None:
        slot.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            slot.send(signal.SIGCONT)

    async def _hold_up(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.send(signal.SIGSTOP)
        await asyncio.sleep(HELD_UP_SECONDS)
        for slot in slots:
            slot.send(signal.SIGCONT)

    async def _cut(self, slot: Slot, seconds: float) -> None:
        way = self._wire(slot)
        await way.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            await way.connect()

    async def _stop_database(self, how: signal.Signals) -> None:
        assert self.postgres is not None
        stopping = asyncio.create_task(_stop_and_start(self.postgres, how, self.dice.uniform(0, 2)))
        try:
            await asyncio.shield(stopping)
        finally:
            await stopping


async def _stop_and_start(server: PostgresServer, how: signal.Signals, seconds: float) -> None:
    await asyncio.to_thread(server.stop, how)
    await asyncio.sleep(seconds)
    server.spawn()
    await asyncio.to_thread(server.wait_until_ready)


def _end_connections(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcp-workflows'"
        )
