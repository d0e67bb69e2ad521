"""A value that cannot be kept spoils its own record and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.records import RunRecord, Turn
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import RecordRefused
from tests.store.conftest import OpenStore
from tests.store.material import NOW, begin, done
from tests.store.raw import ask

pytestmark = pytest.mark.anyio


def _bottomless() -> list[Any]:
    bottom: list[Any] = []
    for _ in range(100_000):
        bottom = [bottom]
    return bottom


def _circular() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    "value",
    [
        "NUL \0 inside",
        "half \ud83d",
        "Grüße 🎉",
        2**63,
        -(2**200),
        10**4000,
        1e308,
        {"\0": ["\udfff"]},
        "x" * 3_000_000,
        None,
        {},
        [],
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_every_json_value_is_kept_exactly(open_store: OpenStore, value: Json) -> None:
    async with open_store() as store:
        run_id = await begin(store, input={"value": value})
        await store.record(Turn(run_id, [done("a", 1, value)], run=RunRecord(RunStatus.RUNNING, output=value)))
        [step] = await store.load_steps(run_id)
        run = await store.load_run(run_id)
        assert run is not None
        assert step.output == run.record.output == run.input["value"] == value


async def test_json_is_kept_as_text_that_every_database_takes(open_store: OpenStore, url: str) -> None:
    value = {"\0": "half \ud83d, Gruß 🎉"}
    async with open_store() as store:
        run_id = await begin(store, input=value)
        await store.record(Turn(run_id, [done("a", 1, value, decision=value)], run=RunRecord(RunStatus.RUNNING, value)))
        await store.deliver(run_id, "signal", value, actor="a", reason="\0", now=NOW)
    kept = ask(
        url,
        "SELECT run.input, run.output, step.output, decision, body, reason FROM run JOIN step ON step.run = run.key "
        "JOIN inbox ON inbox.run = run.key",
    )
    text = r'{"\u0000":"half \ud83d, Gru\u00df \ud83c\udf89"}'
    assert kept == [(text, text, text, text, text, r'"\u0000"')]


async def test_text_of_every_kind_is_kept_exactly_wherever_it_stands(open_store: OpenStore) -> None:
    names = ['a"b', "a\\b", "{a,b}", "NULL", "", " a ", "a\nb", "Grüße 🎉", "a'b", "\\N", "$1", "%s"]
    async with open_store() as store:
        run_id = await begin(store)
        steps = [done(name, number, name)._replace(kind=name) for number, name in enumerate(names)]
        await store.record(Turn(run_id, steps))
        assert await store.load_steps(run_id) == steps


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [float("-inf")],
        {"deep": [float("nan")]},
        b"bytes",
        object(),
        _bottomless(),
        _circular(),
        10**5000,
    ],
    ids=["nan", "inf", "-inf", "deep nan", "bytes", "object", "bottomless", "circular", "endless int"],
)
async def test_what_is_no_json_is_refused_at_its_origin(open_store: OpenStore, value: Any) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        with pytest.raises(RecordRefused, match="cannot be recorded as JSON"):
            await store.record(Turn(run_id, [done("a", 1, value)]))
        with pytest.raises(RecordRefused, match="cannot be recorded as JSON"):
            await begin(store, input={"value": value})
        await store.record(Turn(run_id, [done("a", 1, "fine")]))


# What an attempt, a definition or a defect of ours might bring into a column that is no JSON.
POISON = [
    done("half \ud83d", 1),
    done("a", 2**63),
    done("a", 1, generation=-(2**70)),
    done("a", 1)._replace(status=RunStatus.PAUSED),  # no status of a step
    done("a", 1)._replace(kind=None),
    done("a", 1)._replace(attempts=[1]),
]


@pytest.mark.parametrize("poison", POISON, ids=["surrogate", "huge seq", "huge generation", "status", "null", "list"])
async def test_one_poisonous_record_among_many_fails_alone(open_store: OpenStore, poison: Any) -> None:
    async with open_store() as store:
        runs = [await begin(store) for _ in range(40)]
        turns = [Turn(run_id, [done("a", 1, {"of": run_id})]) for run_id in runs]
        turns[17] = Turn(runs[17], [done("before", 0), poison])
        turns[23] = Turn(runs[23], [poison])
        results = await asyncio.gather(*map(store.record, turns), return_exceptions=True)
        for index, (run_id, result) in enumerate(zip(runs, results, strict=True)):
            if index in (17, 23):
                assert isinstance(result, RecordRefused)
                assert await store.load_steps(run_id) == []
            else:
                assert result is None
                assert await store.load_steps(run_id) == [done("a", 1, {"of": run_id})]


async def test_the_run_of_a_refused_record_can_be_paused(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id = await begin(store)
        with pytest.raises(RecordRefused):
            await store.record(Turn(run_id, [POISON[0]]))
        await store.record(Turn(run_id, run=RunRecord(RunStatus.PAUSED), release=True))
        run = await store.load_run(run_id)
        assert run is not None
        assert run.record.status is RunStatus.PAUSED
