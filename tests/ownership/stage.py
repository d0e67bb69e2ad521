"""A stage for transactions: several threads talk to one PostgreSQL, and one at a time takes one statement's step.

Which one goes next is chosen; ``every_schedule`` makes a scene play in every order that there is. A thread whose statement
waits for a lock of another is seen to wait in ``pg_locks`` and cannot be chosen until the lock is free. Where all wait for
one another, the database ends that, as it does in production.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

BOUND = 30.0
"""Seconds in which something must happen."""


class Choices:
    """The choices of one play: ``script`` for as long as it goes, then what ``otherwise`` says of how many there are."""

    def __init__(self, script: Sequence[int] = (), otherwise: Callable[[int], int] = lambda _among: 0) -> None:
        self._script = script
        self._otherwise = otherwise
        self.taken: list[int] = []
        self._among: list[int] = []

    def choose(self, among: int) -> int:
        place = len(self.taken)
        choice = self._script[place] if place < len(self._script) else self._otherwise(among)
        assert choice < among, "the same choices led somewhere else"
        self.taken.append(choice)
        self._among.append(among)
        return choice

    def next_script(self) -> list[int] | None:
        """The next play in order; ``None``: there is none that was not played."""
        for place in range(len(self.taken) - 1, -1, -1):
            if self.taken[place] + 1 < self._among[place]:
                return [*self.taken[:place], self.taken[place] + 1]
        return None


def every_schedule(at_most: int) -> Iterator[Choices]:
    """Choices for one play after the other, until each possible one was played; of more than ``at_most``, as many more at
    random, the same each time.
    """
    script: list[int] | None = []
    for _ in range(at_most):
        choices = Choices(script)
        yield choices
        script = choices.next_script()
        if script is None:
            return
    chance = random.Random(at_most)
    for _ in range(at_most):
        yield Choices((), chance.randrange)


class Actor(threading.Thread):
    """One thread of a play. It stands before a statement (``ready``), has been let go (``running``), or has ended."""

    def __init__(self, stage: Stage, name: str, part: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._stage = stage
        self._part = part
        self.state = "running"
        self.pid = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._part()
        except BaseException as failure:  # noqa: BLE001  it is raised where the play is watched
            self.failure = failure
        finally:
            self._stage.note(self, "ended")

    def step(self, pid: int) -> None:
        """Called in the thread, before each statement: until it is this one's turn."""
        self.pid = pid
        self._stage.note(self, "ready")
        self._stage.wait_for(lambda: self.state == "running")


class Stage:
    """``monitor`` is a connection of its own, to see who waits for whom."""

    def __init__(self, monitor: psycopg.Connection[Any]) -> None:
        self._monitor = monitor
        self._changed = threading.Condition()
        self._cast: list[Actor] = []
        self.went: list[str] = []
        """Who took each step of the last play."""

    def play(self, parts: dict[str, Callable[[], None]], choices: Choices) -> None:
        """Plays ``parts``, by name, to the end of all of them. Raises what one of them raised."""
        actors = self._cast = list[Actor]()
        self.went = []
        for name, part in parts.items():
            self.enter(name, part)
        while True:
            self._settle(actors)
            ready = [actor for actor in actors if actor.state == "ready"]
            if ready:
                chosen = ready[choices.choose(len(ready)) if len(ready) > 1 else 0]
                self.went.append(chosen.name)
                self.note(chosen, "running")
            elif all(actor.state == "ended" for actor in actors):
                break
            else:  # all wait for one another: the database tells one of them to yield
                stuck = [actor for actor in actors if actor.state == "running"]
                self.wait_for(lambda stuck=stuck: any(actor.state != "running" for actor in stuck))
        for actor in actors:
            if actor.failure is not None:
                raise actor.failure

    def enter(self, name: str, part: Callable[[], None]) -> None:
        """One more, from the beginning or in the middle of the play."""
        actor = Actor(self, name, part)
        self._cast.append(actor)
        actor.start()

    def close(self) -> None:
        self._monitor.close()

    def note(self, actor: Actor, state: str) -> None:
        with self._changed:
            actor.state = state
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], seconds: float = BOUND) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "nothing happened"

    def _settle(self, actors: Sequence[Actor]) -> None:
        """Until each stands before a statement, waits for a lock, or has ended."""
        until = time.monotonic() + BOUND
        while True:
            with self._changed:
                self._changed.wait_for(lambda: all(actor.state != "running" for actor in actors), 0.001)
                running = [actor for actor in actors if actor.state == "running"]
            if not running:
                return
            stuck = self._waiting_for_locks()
            if all(actor.state != "running" or actor.pid in stuck for actor in actors):
                return
            assert time.monotonic() < until, "somebody neither goes on nor waits for a lock"

    def _waiting_for_locks(self) -> set[int]:
        return {pid for (pid,) in self._monitor.execute("SELECT pid FROM pg_locks WHERE NOT granted").fetchall()}


def step() -> Callable[[int], None] | None:
    """What a statement has to wait for in this thread; ``None``: it is no actor's."""
    thread = threading.current_thread()
    return thread.step if isinstance(thread, Actor) else None
