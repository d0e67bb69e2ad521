"""One soak from its first run to its verdict: servers, their database, the ledger, the load and the chaos."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.postgres import PostgresServer
from tests.soak import verdict
from tests.soak.audit import Base
from tests.soak.chaos import Monkey
from tests.soak.cluster import Slot, slots
from tests.soak.judging import Judging
from tests.soak.ledger import Ledger, ledger, to_json
from tests.soak.load import Load
from tests.soak.wire import Wire, wire

PUBLIC_HOST = "workflows.test"
"""Where callbacks are sent to: any server takes them, as behind a balancer."""
SETTLING_SECONDS = 300.0
"""For all that is open when the chaos ends, on a machine however busy."""

EVIDENCE = Path(tempfile.gettempdir()) / "mcp-workflows-soak"


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` of chaos, or longer, until ``runs`` have ended and ``acts`` were done; never more than ``most_runs``. All
    that is open then ends within ``settling_seconds``; something gets done in as many, all the time. ``flaw``: of
    ``flaws.FLAWS``, in every server.
    """

    seed: int
    seconds: float
    lease_seconds: float
    servers: int
    clients: int
    runs: int = 0
    acts: int = 0
    most_runs: int = 1_000_000
    settling_seconds: float = SETTLING_SECONDS
    flaw: str = ""

    @property
    def clocks(self) -> list[float]:
        """By how many seconds each server's clock is ahead: by more than a lease, so that none of them can be trusted."""
        return [(0.0, 1.5, -1.5)[number % 3] * self.lease_seconds for number in range(self.servers)]


@dataclass
class World:
    plan: Plan
    folder: Path
    base: Base
    ledger: Ledger
    slots: Sequence[Slot]
    load: Load
    monkey: Monkey
    books: verdict.Books | None = None
    complaints: list[str] = field(default_factory=list[str])

    async def soak(self) -> None:
        """Raises nothing for what went wrong with runs: that is in ``complaints``."""
        await asyncio.gather(*(slot.serving() for slot in self.slots))
        loading = asyncio.create_task(self.load.go())
        playing = asyncio.create_task(self.monkey.play())
        try:
            await self._until_enough(loading, playing)
        finally:
            self.load.over = self.ledger.calm = True
            playing.cancel()
            await asyncio.wait([playing])
        await self._settle(loading)
        await self._stop()
        labels = {pid: label for slot in self.slots for pid, label in slot.pids.items()}
        self.books = await asyncio.to_thread(
            verdict.Books.read, self.base, self.ledger, labels, self.plan.lease_seconds
        )
        self.complaints += [*self.load.complaints, *verdict.complaints(self.books, self.load.started)]

    def told(self) -> str:
        """What was done, in a few lines."""
        deeds: dict[str, int] = {}
        for act in self.monkey.acts:
            deeds[act.what] = deeds.get(act.what, 0) + 1
        late = verdict.late_calls(self.books) if self.books else 0
        return (
            f"seed {self.plan.seed}: {self.load.ended} runs, {len(self.ledger.effects)} effects by "
            f"{len(self.ledger.calls)} calls ({late} of them late, by processes declared dead), {deeds}"
        )

    def save(self) -> Path:
        """Evidence, for whoever looks into a failure; where pytest does not clear it away after its next runs."""
        folder = EVIDENCE / f"{self.base.kind}-{self.plan.seed}-{time.time():.0f}"
        folder.mkdir(parents=True)
        for slot in self.slots:
            shutil.copy(slot.log, folder)
        plan = {**asdict(self.plan), "complaints": self.complaints, "exits": [slot.exits for slot in self.slots]}
        (folder / "plan.json").write_text(json.dumps(plan, indent=1))
        (folder / "acts.json").write_text(json.dumps([asdict(act) for act in self.monkey.acts], indent=1))
        (folder / "ledger.json").write_text(to_json(self.ledger))
        for table in ("run", "step", "attempt", "inbox", "node", "audit"):
            rows = self.base.read(f"SELECT * FROM {table}")
            (folder / f"{table}.json").write_text("\n".join(json.dumps(row, default=str) for row in rows))
        return folder

    async def _settle(self, loading: asyncio.Task[None]) -> None:
        """Until the clients have seen the end of all that they began, and the rest has ended too."""
        try:
            async with asyncio.timeout(self.plan.settling_seconds):
                await asyncio.wait([loading])
                while await asyncio.to_thread(self._open_runs):  # noqa: ASYNC110  (of other processes)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.complaints.append(f"after {self.plan.settling_seconds:.0f} s of calm some runs had not ended")
        if not loading.done():
            loading.cancel()
            await asyncio.wait([loading])
        elif loading.exception() is not None:
            self.complaints.append(f"clients broke off: {loading.exception()!r}")

    async def _until_enough(self, loading: asyncio.Task[None], playing: asyncio.Task[None]) -> None:
        until = time.monotonic() + self.plan.seconds
        while time.monotonic() < until or self.load.ended < self.plan.runs or len(self.monkey.acts) < self.plan.acts:
            done, _ = await asyncio.wait({loading, playing}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            if playing in done and isinstance(playing.exception(), Stalled):
                self.complaints.append(str(playing.exception()))
            elif playing in done:
                playing.result()
            if done:
                return

    async def _stop(self) -> None:
        """In good order, which all of them manage."""
        for slot in self.slots:
            try:
                await slot.serving()
            except TimeoutError:
                self.complaints.append(f"{slot.label} does not serve in the calm")
            slot.kept_up = False
        codes = await asyncio.gather(*(slot.stop() for slot in self.slots))
        if any(codes):
            self.complaints.append(f"servers that were told to stop ended with {codes}")

    def _open_runs(self) -> int:
        return self.base.read(f"SELECT count(*) FROM run WHERE status NOT IN {tuple(sorted(verdict.FINISHED))}")[0][0]


@asynccontextmanager
async def world(folder: Path, plan: Plan, base: Base, postgres: PostgresServer | None) -> AsyncGenerator[World]:
    """``postgres``: the server that ``base`` is in; it is restarted and killed."""
    print(f"\nsoak with seed {plan.seed} in {folder}", flush=True)  # noqa: T201
    dice = random.Random(plan.seed)
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(ledger(random.Random(dice.random())))
        wires: list[Wire] = []
        urls = [base.url] * plan.servers
        if postgres is not None:  # in its folder, for the path of a socket must be short, and those of tests are not
            ways = [wire(postgres.folder / f"w{number}", postgres.folder) for number in range(plan.servers)]
            wires = [await stack.enter_async_context(way) for way in ways]
            urls = [base.url.replace(f"host={postgres.folder}", f"host={way.folder}") for way in wires]
        common = {
            "LEASE_SECONDS": str(plan.lease_seconds), "PUBLIC_URL": f"http://{PUBLIC_HOST}",
            "FUNCTIONS": "tests.soak.functions", "VAR_LEDGER": books.url, "VAR_TOOLS": books.tools_url,
        }  # fmt: skip
        settings = [{**common, "DATABASE_URL": url} for url in urls]
        judging = folder / "judging"
        judging.mkdir()
        odd = slots(folder, settings, clocks=plan.clocks, flaw=plan.flaw, judging=judging)
        places = await stack.enter_async_context(odd)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        books.call_back = _Carrier(session, places, random.Random(dice.random())).call
        load = Load(books, places, random.Random(dice.random()), plan.clients, plan.most_runs)
        pause = _pause_until(books, load, plan.settling_seconds)
        others = (Judging(judging), base, wires, postgres)
        monkey = Monkey(random.Random(dice.random()), places, plan.lease_seconds, pause, *others)
        yield World(plan, folder, base, books, places, load, monkey)


class Stalled(Exception):
    """Nothing goes on any more."""


def _pause_until(books: Ledger, load: Load, seconds: float) -> Any:
    """Between two acts the servers get something done: on a slow machine that takes longer, but not more than ``seconds``."""

    async def pause() -> None:
        before, ended = len(books.effects), load.ended
        try:
            async with asyncio.timeout(seconds):
                while len(books.effects) < before + 10 and load.ended < ended + 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Stalled(f"for {seconds:.0f} s hardly anything was done, and nobody was in the way") from None

    return pause


class _Carrier:
    """Calls back as services do that mean it: at one server after the other, until one has taken it."""

    def __init__(self, session: aiohttp.ClientSession, places: Sequence[Slot], dice: random.Random) -> None:
        self._session = session
        self._places = places
        self._dice = dice

    async def call(self, notify: str, body: Any) -> None:
        path = notify.removeprefix(f"http://{PUBLIC_HOST}")
        timeout = aiohttp.ClientTimeout(5)
        while True:
            url = f"{self._dice.choice(self._places).url}{path}"
            try:
                async with self._session.post(
                    url, json=body, headers={"Host": PUBLIC_HOST}, timeout=timeout
                ) as response:
                    if response.status in (200, 202, 410):
                        return
                    assert response.status == 503, f"{response.status} {await response.text()}"
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
