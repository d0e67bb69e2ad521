"""What a run waits for: instants, and messages, of which some come early."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from datetime import datetime
from typing import NamedTuple, TypeAlias

from mcp_workflows.engine.frames.host import MailKey, Waiter
from mcp_workflows.engine.paths import inside, place
from mcp_workflows.engine.records import Message


class Waiting(NamedTuple):
    waiter: Waiter
    due_at: datetime | None
    key: MailKey | None


_Turn: TypeAlias = tuple[datetime, list[str | int], str]
"""Since when a step waits, its place, and its path."""


class Waits:
    """One entry for each step that waits. A message that was received before an instant counts before it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._asking: dict[str, None] = {}
        self._timers: list[tuple[datetime, str]] = []
        self._expecting: defaultdict[MailKey, list[_Turn]] = defaultdict(list)
        """A heap each: who has waited longest is first, by what is recorded, so that it is the same after a restart."""
        self._early: defaultdict[MailKey, deque[Message]] = defaultdict(deque)
        self._new: list[tuple[MailKey, Message]] = []

    def add(self, waiter: Waiter, due_at: datetime | None, key: MailKey | None) -> Message | None:
        """Wait, or take the message that has come already: then there is nothing to wait for."""
        if key is not None:
            message = self._taken(key, due_at)
            if message is not None:
                return message
            heapq.heappush(self._expecting[key], (waiter.since, place(waiter.path), waiter.path))
        self._waiting[waiter.path] = Waiting(waiter, due_at, key)
        if waiter.asks:
            self._asking[waiter.path] = None
        if due_at is not None:
            heapq.heappush(self._timers, (due_at, waiter.path))
        return None

    def put(self, key: MailKey, message: Message) -> Waiter | None:
        """Who has waited longest for this message, and waits no longer; ``None``: it is kept, being early."""
        turns = self._expecting.pop(key, [])
        late: list[_Turn] = []
        taker: Waiter | None = None
        while turns and taker is None:
            turn = heapq.heappop(turns)
            waiting = self._waiting.get(turn[-1])
            if waiting is None or waiting.key != key:
                continue
            if waiting.due_at is not None and message.received_at > waiting.due_at:
                late.append(turn)
            else:
                taker = self._remove(turn[-1])
        for turn in late:
            heapq.heappush(turns, turn)
        if turns:
            self._expecting[key] = turns
        if taker is not None:
            return taker
        self._early[key].append(message)
        self._new.append((key, message))
        return None

    def unsorted(self) -> list[tuple[MailKey, Message]]:
        """Messages that came early since this was last asked, and that nobody has taken."""
        new, self._new = self._new, []
        return [(key, message) for key, message in new if message in self._early.get(key, ())]

    def take_over(self, others: Waits) -> None:
        """The messages that came early there, as if they came now."""
        for key, messages in others._early.items():
            for message in messages:
                self.put(key, message)

    def drop(self, key: MailKey, message: Message) -> None:
        self._early[key].remove(message)
        if not self._early[key]:
            del self._early[key]

    def overdue(self, now: datetime) -> list[Waiting]:
        """Those whose instant has come, in due order, each once. They wait until they are ``released``."""
        found: list[Waiting] = []
        while self._timers and self._timers[0][0] <= now:
            due_at, path = heapq.heappop(self._timers)
            waiting = self._waiting.get(path)
            if waiting is not None and waiting.due_at == due_at:
                found.append(waiting)
        return found

    def release(self, waiting: Waiting) -> bool:
        """It waits no longer; ``False``: nor has it since, for it was stopped or got its message."""
        path = waiting.waiter.path
        if self._waiting.get(path) is not waiting:
            return False
        self._remove(path)
        return True

    def within(self, path: str) -> list[Waiter]:
        """Those inside of ``path`` (everywhere: ``""``), which wait no longer; in the order that a rebuilt machine has too."""
        found = [each for each in self._waiting if not path or inside(each, path)]
        return [self._remove(each) for each in sorted(found, key=place)]

    @property
    def next_due(self) -> datetime | None:
        while self._timers:
            due_at, path = self._timers[0]
            waiting = self._waiting.get(path)
            if waiting is not None and waiting.due_at == due_at:
                return due_at
            heapq.heappop(self._timers)
        return None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    def holds(self, path: str) -> bool:
        """The step waits, if only for the time of its next attempt."""
        return path in self._waiting

    @property
    def only_asking(self) -> bool:
        """Somebody waits, and all that do wait for a person or a signal."""
        return bool(self._asking) and len(self._asking) == len(self._waiting)

    @property
    def asking(self) -> tuple[str, ...]:
        """Paths of those that wait for a person or a signal."""
        return tuple(self._asking)

    def _remove(self, path: str) -> Waiter:
        self._asking.pop(path, None)
        return self._waiting.pop(path).waiter

    def _taken(self, key: MailKey, due_at: datetime | None) -> Message | None:
        early = self._early.get(key)
        if early and (due_at is None or early[0].received_at <= due_at):
            message = early.popleft()
            if not early:
                del self._early[key]
            return message
        return None


def key_of(message: Message) -> MailKey | None:
    """What a message is for; ``None`` where it is for the run."""
    body = message.body
    match message.kind:
        case "signal":
            return ("signal", str(body.get("name")), 0)
        case "answer" | "child":
            return (message.kind, str(body.get("path")), int(body.get("generation") or 0))
        case "callback":
            return ("callback", str(body.get("path")), 0)  # whichever attempt it answers: they are one request
        case _:
            return None
