"""The verdict can be a bad one: a good history, made up and then spoiled in one place each, and a server without a fence."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.soak import verdict
from tests.soak.audit import Base, Entry
from tests.soak.cluster import slots
from tests.soak.ledger import Call, Effect, Ledger
from tests.soak.verdict import Books, NodeRow, RunRow, StepRow

LEASE = 2.0
PAID = "r_1:paid"


@dataclass
class Story:
    """One begins a payment and is killed; two takes it over, makes it and ends in good order. Each step is one commit."""

    entries: list[Entry] = field(default_factory=list[Entry])
    ledger: Ledger = field(default_factory=lambda: Ledger(random.Random(1), 0.0))
    status: str = "completed"
    output: int = 0
    started: dict[str, str] = field(default_factory=lambda: {"k": "r_1"})
    resumes: int = 0

    def __post_init__(self) -> None:
        self.commit(1.0, "n_1", ("owner", "n_1"), ("step", "paid", "running"))
        self.commit(6.0, "n_2", ("crashed", "n_1"), ("owner", None), heard=1.0)
        self.commit(6.5, "n_2", ("owner", "n_2"))
        self.commit(7.0, "n_2", ("step", "paid", "completed"), ("status", None, "completed"), ("owner", None))
        self.commit(8.0, "n_2", ("left", "n_2"), heard=8.0)
        self.call(6.8)
        self.ledger.effects[PAID] = Effect(0, "pay")

    def commit(self, at: float, writer: str, *what: tuple[str | None, ...], heard: float | None = None) -> None:
        for one, path, *status in what:
            run = None if one in {"crashed", "left", "late"} else 1
            generation = 1 if one == "step" else None
            told = status[0] if status else None
            self.entries.append(
                Entry(
                    str(one), run, path, told, generation, False if one == "step" else None, None, writer, at, at, heard
                )
            )

    def call(self, at: float, by: str = "s1.1", what: str = "pay", key: str = PAID) -> None:
        self.ledger.calls.append(Call(at, 0.0, what, key, by, None))

    def books(self) -> Books:
        books = Books(self.ledger, {11: "s0.1", 22: "s1.1"}, LEASE, proven=False)
        books.runs = {1: RunRow(1, "r_1", "payment", self.status, None, "k", None, None, "good")}
        books.steps = [StepRow(1, "paid", "http", self.status, 0, False, False, {"effect": self.output})]
        books.nodes = {"n_1": NodeRow("n_1", 11, 0.0), "n_2": NodeRow("n_2", 22, 0.0)}
        books.resumes = {1: self.resumes}
        books.enter(sorted(self.entries, key=lambda entry: (entry.run or 0, entry.at)))
        return books

    def complaints(self) -> list[str]:
        return verdict.complaints(self.books(), self.started)


def _a_zombie_records(story: Story) -> None:
    story.commit(6.2, "n_1", ("step", "paid", "running"))


def _a_zombie_beats(story: Story) -> None:
    story.commit(6.2, "n_1", ("late", "n_1"))


def _a_zombie_claims(story: Story) -> None:
    story.commit(7.5, "n_1", ("owner", "n_1"))


def _somebody_takes_a_message_of_anothers_run(story: Story) -> None:
    story.commit(1.5, "n_2", ("consumed", None))


def _somebody_unknown_writes(story: Story) -> None:
    story.entries.append(Entry("step", 1, "paid", "running", 1, False, None, None, 6.7, 6.7))


def _a_run_is_taken_from_who_lives(story: Story) -> None:
    story.commit(4.0, "n_2", ("owner", None))


def _two_own_a_run(story: Story) -> None:
    story.commit(3.0, "n_2", ("owner", "n_2"))


def _one_is_taken_for_dead_at_once(story: Story) -> None:
    story.entries = [replace(entry, heard=5.5) if entry.what == "crashed" else entry for entry in story.entries]


def _one_is_ended_twice(story: Story) -> None:
    story.commit(6.1, "n_2", ("crashed", "n_1"), heard=1.0)


def _what_is_done_is_undone(story: Story) -> None:
    story.commit(6.9, "n_2", ("step", "paid", "skipped"))


def _it_is_called_again_after_its_record(story: Story) -> None:
    story.call(7.5)
    story.resumes = 1


def _it_is_paid_twice(story: Story) -> None:
    story.call(6.85)


def _the_answer_is_anothers(story: Story) -> None:
    story.output = 7


def _nothing_was_done(story: Story) -> None:
    story.ledger.effects.clear()


def _nobody_recorded_it(story: Story) -> None:
    story.ledger.effects["r_1:booked"] = Effect(1, "book")


def _it_never_ended(story: Story) -> None:
    story.status = "running"


def _a_start_is_lost(story: Story) -> None:
    story.started["l"] = "r_2"


SPOILED: dict[Callable[[Story], None], str] = {
    _a_zombie_records: "written by a node that did not own the run",
    _a_zombie_beats: "written by a node that had ended",
    _a_zombie_claims: "written by a node that had ended",
    _somebody_takes_a_message_of_anothers_run: "written by a node that did not own the run",
    _somebody_unknown_writes: "written by a node that did not own the run",
    _a_run_is_taken_from_who_lives: "at another time than its end",
    _two_own_a_run: "taken from n_1 by n_2",
    _one_is_taken_for_dead_at_once: "taken for dead after 0.500 s",
    _one_is_ended_twice: "ended twice",
    _what_is_done_is_undone: "skipped became completed",
    _it_is_called_again_after_its_record: "after its record",
    _it_is_paid_twice: "paid 2 times",
    _the_answer_is_anothers: "was effect 0",
    _nothing_was_done: "was never done",
    _nobody_recorded_it: "nobody recorded it",
    _it_never_ended: "is running",
    _a_start_is_lost: "is lost",
}


def test_there_is_nothing_to_be_said_against_a_good_history() -> None:
    assert Story().complaints() == []


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__.strip("_"))
def test_what_must_not_be_is_complained_of(spoil: Callable[[Story], None]) -> None:
    story = Story()
    spoil(story)
    assert [told for told in story.complaints() if SPOILED[spoil] in told], story.complaints()


def _of_ends(books: Books) -> Iterator[str]:
    yield from verdict.ended_for_good(books)
    yield from verdict.nobody_living_was_ended(books)


@pytest.mark.anyio
@pytest.mark.parametrize("flaw", ["", "without_a_fence"])
async def test_a_server_without_a_fence_that_wakes_up_after_its_death_is_complained_of(
    tmp_path: Path, flaw: str
) -> None:
    base = Base(f"sqlite:///{tmp_path / 'runs.db'}")
    base.prepare()
    settings = {"LEASE_SECONDS": str(LEASE), "DATABASE_URL": base.url, "FUNCTIONS": "tests.soak.functions"}
    async with slots(tmp_path, [settings] * 2, clocks=[0.0, 3.0], flaw=flaw) as places, asyncio.timeout(120):
        for slot in places:
            await slot.serving()
        [pid] = places[0].pids
        places[0].send(signal.SIGSTOP)
        await _once(base, f"SELECT 1 FROM node WHERE crashed AND pid = {pid}")
        places[0].send(signal.SIGCONT)
        await _once(
            base, f"SELECT 1 FROM node WHERE NOT crashed AND pid = {pid} UNION SELECT 1 FROM audit WHERE what = 'late'"
        )
    books = Books.read(base, Ledger(random.Random(1), 0.0), {}, lease_seconds=LEASE)
    assert [told.partition(":")[0] for told in _of_ends(books)][:1] == (
        ["written by a node that had ended"] if flaw else []
    )


async def _once(base: Base, query: str) -> None:
    while not await asyncio.to_thread(base.read, query):  # noqa: ASYNC110  (written by other processes)
        await asyncio.sleep(0.02)
