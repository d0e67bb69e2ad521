"""Servers with different files: what a name means is what the files of the server say, and runs keep what they began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploys.place import Hitches, Place, place
from tests.soak.callers import Told
from tests.soak.cluster import Slot

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def write(folder: Path, word: str) -> Path:
    """Parent and child; both say ``word``, before and after the wait in the middle."""
    folder.mkdir(exist_ok=True)
    (folder / "said.yaml").write_text(
        f"""
name: said
description: Says its word, as a child of another run.
steps:
  - set: {{word: {word}}}
"""
    )
    (folder / "saying.yaml").write_text(
        f"""
name: saying
description: Says its word, waits to be told to go on, and lets a child say its own.
mcp: {{wait: 0s, join: "off"}}
steps:
  - id: before
    set: {{word: {word}}}
  - id: go
    signal: {{}}
  - id: child
    workflow: {{name: said, input: {{}}}}
output: {{before: "${{steps.before.output.word}}", child: "${{steps.child.output.word}}", after: {word}}}
"""
    )
    return folder


async def ask(here: Place, slot: Slot, tool: str, **arguments: object) -> Told:
    caller = here.caller(Hitches(), only=[slot])
    try:
        return await caller.call(tool, arguments)
    finally:
        await caller.close()


async def begun(here: Place, slot: Slot) -> tuple[str, int]:
    """A new run of that server, and the version that it has."""
    run_id: str = (await ask(here, slot, "saying"))["run_id"]
    return run_id, (await ask(here, slot, "get_run", run_id=run_id))["version"]


async def ended(here: Place, slot: Slot, run_id: str) -> Told:
    """What the run says once it was told, by that server, to go on."""
    await ask(here, slot, "signal_run", run_id=run_id, name="go", data={})
    told = await ask(here, slot, "get_run", run_id=run_id, wait_seconds=50)
    assert told["status"] == "completed", told
    return told["result"]


def all_say(word: str) -> Told:
    return {"before": word, "child": word, "after": word}


async def test_while_servers_have_different_files_runs_keep_what_they_began_with(
    tmp_path: Path, audited_url: str
) -> None:
    old, new = write(tmp_path / "old", "one"), write(tmp_path / "new", "two")
    async with place(tmp_path, audited_url, [old, new]) as here:
        with_old, with_new = here.slots
        first, version_of_first = await begun(here, with_old)
        second, version_of_second = await begun(here, with_new)
        third, version_of_third = await begun(here, with_old)  # what the other has made of the name is nothing to it
        assert {version_of_first, version_of_second} == {1, 2}
        assert version_of_third == version_of_first

        with_old.definitions = new  # its turn: who is left moves what it had, in the version that it began with
        assert await with_old.stop() == 0
        assert await ended(here, with_new, first) == all_say("one")
        await with_old.serving()
        assert (await begun(here, with_old))[1] == version_of_second

        with_new.definitions = with_old.definitions = old  # and back again
        assert await with_new.stop() == 0
        assert await ended(here, with_old, third) == all_say("one")
        await with_new.serving()
        assert await ended(here, with_new, second) == all_say("two")
        assert (await begun(here, with_new))[1] == version_of_first
        assert await with_old.stop() == 0
        await with_old.serving()
        assert (await begun(here, with_old))[1] == version_of_first
        rows = here.base.read("SELECT name, max(version), count(*) FROM definition GROUP BY name ORDER BY name")
        assert rows == [("said", 2, 2), ("saying", 2, 2)]
