"""The page on the architecture names every room of the package, in the order in which they may import one another."""

from __future__ import annotations

import re
import tomllib

from tests.docs.place import ROOT, coded, first_cells, page

PACKAGE = ROOT / "mcp_workflows"
TEXT = page("docs/architecture.md")


def rooms_told() -> list[set[str]]:
    """Of each row of the table of rooms its rooms."""
    table = TEXT.split("## The rooms")[1].split("\n## ")[0]
    return [names for cell in first_cells(table) if (names := coded([cell]))]


def test_every_room_has_a_place_on_the_page_and_no_other():
    rooms = {file.stem for file in PACKAGE.iterdir() if file.is_dir() or file.suffix == ".py"}
    told = {room for row in rooms_told() for room in row}
    assert told == {room for room in rooms if not room.startswith("__")}


def test_the_rooms_stand_in_the_order_that_the_contract_keeps():
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one.get("containers") == ["mcp_workflows"])
    assert [set(layer.split(" | ")) for layer in layers] == rooms_told()


def test_every_file_that_the_page_sends_to_is_there():
    named = {name for name in re.findall(r"`([\w/]+\.py|[\w/]+/)`", TEXT) if "*" not in name}
    files = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*")}
    there = [name for name in named if any(f"/{file}".endswith(f"/{name.rstrip('/')}") for file in files)]
    assert named - set(there) - {"mcp_workflows/", "tests/"} == set()
