"""Content beside the records, and the key that all nodes of a database share."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from mcp_workflows.engine.records import Turn
from mcp_workflows.errors import UnknownRun
from mcp_workflows.store.blobs import PART_BYTES, blob_id, parts
from tests.store.conftest import OpenStore
from tests.store.material import begin, done

pytestmark = pytest.mark.anyio


async def test_a_blob_comes_back_as_it_was_put_on_every_node(open_store: OpenStore) -> None:
    data = bytes(range(256)) * 5
    async with open_store() as store, open_store() as other:
        run_id = await begin(store)
        blob_id = await other.put_blob(run_id, data, 'image/png; name="\0Gruß\ud83d"')
        assert blob_id == "b_" + hashlib.sha256(data).hexdigest()[:32]
        assert await store.load_blob(run_id, blob_id) == (data, 'image/png; name="\0Gruß\ud83d"')


async def test_the_same_content_is_in_a_run_once(open_store: OpenStore) -> None:
    async with open_store() as store:
        run_id, another = await begin(store), await begin(store)
        ids = await asyncio.gather(*(store.put_blob(run_id, b"same", kind) for kind in ("a/b", "c/d", None)))
        assert len(set(ids)) == 1
        assert await store.load_blob(run_id, ids[0]) == (b"same", "a/b")
        assert await store.load_blob(another, ids[0]) is None
        assert await store.load_blob(run_id, await store.put_blob(run_id, b"", None)) == (b"", None)


async def test_a_blob_of_no_run_is_refused_and_one_that_is_unknown_is_none(open_store: OpenStore) -> None:
    async with open_store() as store:
        with pytest.raises(UnknownRun):
            await store.put_blob("r_none", b"x", None)
        assert await store.load_blob(await begin(store), "b_none") is None
        assert await store.load_blob("r_none", "b_none") is None


async def test_large_blobs_and_records_get_through_together(open_store: OpenStore) -> None:
    data = b"x" * (PART_BYTES * 3 // 2)
    async with open_store() as store:
        runs = [await begin(store) for _ in range(4)]
        await asyncio.gather(
            *(store.put_blob(run_id, data + run_id.encode(), None) for run_id in runs),
            *(store.record(Turn(run_id, [done("a", 1)])) for run_id in runs),
        )
        for run_id in runs:
            assert await store.load_steps(run_id) == [done("a", 1)]
            found = await store.load_blob(run_id, await store.put_blob(run_id, data + run_id.encode(), None))
            assert found == (data + run_id.encode(), None)


@pytest.mark.parametrize("size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
async def test_a_blob_of_several_parts_is_whole(open_store: OpenStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with open_store() as store:
        run_id = await begin(store)
        assert await store.load_blob(run_id, await store.put_blob(run_id, data, "a/b")) == (data, "a/b")


async def test_a_blob_whose_putting_was_cut_off_is_not_there_until_it_is_put_again(open_store: OpenStore) -> None:
    data = random.Random(1).randbytes(3 * PART_BYTES)
    async with open_store() as store:
        run_id = await begin(store)
        which = blob_id(data)
        for put, _size in list(parts(store._database.statements, run_id, which, data, None))[:2]:
            await store._call(put)
            assert await store.load_blob(run_id, which) is None
        assert await store.put_blob(run_id, data, None) == which
        assert await store.load_blob(run_id, which) == (data, None)


async def test_all_nodes_have_one_key_that_outlives_them(open_store: OpenStore) -> None:
    async with open_store() as store, open_store() as other:
        key, *others = await asyncio.gather(store.secret_key(), other.secret_key(), store.secret_key())
        assert len(key) == 32
        assert others == [key, key]
    async with open_store() as later:
        assert await later.secret_key() == key
