"""What is said of attackers names the tests that attack, and every attack is told of."""

from __future__ import annotations

import re

from tests.docs.place import ROOT, page


def test_each_attack_that_is_told_of_is_made_and_each_that_is_made_is_told_of() -> None:
    told = page("docs/authentication.md").partition("## What an attacker may do")[2]
    named = re.findall(r"`((?:tests/)?[a-z_/]+(?:\.py)?)`", "\n".join(line.rpartition("| ")[2] for line in _rows(told)))
    places = [one if one.startswith("tests/") else f"tests/attacks/{one}" for one in named if "test" in one]
    assert places
    assert [one for one in places if not (ROOT / one).exists()] == []
    made = {f"tests/attacks/{file.name}" for file in (ROOT / "tests/attacks").glob("test_*.py")}
    assert made <= set(places)


def _rows(text: str) -> list[str]:
    return [line.removesuffix(" |") for line in text.splitlines() if line.startswith("|")]
