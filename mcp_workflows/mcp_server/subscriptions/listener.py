"""One client that listens: what it wants to hear of, and what it has not been told yet.

Everything that is told is "this changed, look at it if you care". So what is untold is a set that cannot grow beyond what is
listened to, however slowly the client reads, and how a thing stands is looked up at the moment of telling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

Tell = Callable[[], None]
Stop = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification as it goes over the wire."""

    method: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])


class Topic(Protocol):
    """Something that a client can listen to, as this client may hear of it."""

    async def follow(self, tell: Tell) -> Stop:
        """Call ``tell`` whenever there is something to be told, until the answer is called.

        Raises ``CallerError`` where the client may not listen to it, as if it were not there.
        """
        ...

    async def notice(self) -> Notice | None:
        """What to tell now; ``None``: nothing, after all."""
        ...


class Listener:
    """Remembers, in the order in which they happened, what its client is to be told."""

    def __init__(self) -> None:
        self._untold: dict[Topic, None] = {}
        self._followed: dict[str, Stop] = {}
        self._stirred = asyncio.Event()
        self._closing = False

    @property
    def names(self) -> list[str]:
        """What it follows."""
        return list(self._followed)

    async def follow(self, name: str, topic: Topic) -> None:
        """Listen to it, under this name. Raises ``CallerError`` as the topic does."""
        if name not in self._followed:
            stop = await topic.follow(lambda: self.tell(topic))
            self.unfollow(name)  # which somebody else may have come to follow meanwhile
            self._followed[name] = stop

    def unfollow(self, name: str) -> None:
        if (stop := self._followed.pop(name, None)) is not None:
            stop()

    def tell(self, topic: Topic) -> None:
        self._untold[topic] = None
        self._stirred.set()

    async def next(self) -> Notice | None:
        """The next thing to tell; ``None`` once it was closed and has been told everything."""
        while True:
            while self._untold:
                topic = next(iter(self._untold))
                del self._untold[topic]
                if (notice := await topic.notice()) is not None:
                    return notice
            if self._closing:
                return None
            await self._stirred.wait()
            self._stirred.clear()

    def close(self) -> None:
        """Follow nothing any more, and end after what is untold yet."""
        for name in self.names:
            self.unfollow(name)
        self._closing = True
        self._stirred.set()
