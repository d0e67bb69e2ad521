"""``select``: the language of parts."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_workflows.mcp_server.views.selection import Selected, SelectRefused, root_of, select_from, step_path

RESULT = {"installed": [{"device": "d1"}, {"device": "d2"}, {"device": "d3"}], "my key": {"a": "text"}, "n": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", Selected(RESULT)),
        (".installed[0:2]", Selected([{"device": "d1"}, {"device": "d2"}], of=3)),
        (".installed[1:]", Selected([{"device": "d2"}, {"device": "d3"}], of=3, start=1)),
        (".installed[-1:]", Selected([{"device": "d3"}], of=3, start=2)),
        (".installed[5:9]", Selected([], of=3, start=3)),
        (".installed[-1].device", Selected("d3")),
        ('["my key"].a[0:2]', Selected("te", of=4)),
        (".n", Selected(None)),
    ],
)
def test_a_path_leads_to_its_part(path: str, found: Selected) -> None:
    assert select_from(RESULT, path, named="result") == found


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".instaled", "select: result has no instaled. It has installed, my key, n."),
        (".installed[3]", "select: result.installed has 3 elements; [3] is outside."),
        (".installed.device", "select: result.installed is a list and has no device."),
        (".n[0]", "select: result.n is null, not a list."),
        (".installed[0][0:1]", "select: result.installed[0] is an object; only a list or a text can be sliced."),
        ("[*]", 'select: "[*]" is not understood. Write .name, [3], [0:20] or ["a key"].'),
        ("..x", 'select: "..x" is not understood. Write .name, [3], [0:20] or ["a key"].'),
    ],
)
def test_a_path_that_leads_nowhere_says_what_there_is(path: str, said: str) -> None:
    with pytest.raises(SelectRefused) as refused:
        select_from(RESULT, path, named="result")
    assert str(refused.value) == said


def test_only_the_parts_of_a_run_can_be_selected() -> None:
    assert root_of("result[0:3]") == "result"
    with pytest.raises(SelectRefused, match="begins with result, input, error, steps or trace"):
        root_of("outputs.x")


@pytest.mark.parametrize(
    ("select", "found"),
    [
        ("steps.charge", ("charge", "")),
        ("steps.charge.output.items[0:5]", ("charge", ".output.items[0:5]")),
        ("steps.pages[3].install.output", ("pages[3].install", ".output")),
        ("steps.pages[3].error", ("pages[3]", ".error")),
        ("steps.http#2.output", ("http#2", ".output")),
    ],
)
def test_the_longest_path_that_was_recorded_is_the_step_meant(select: str, found: tuple[str, str]) -> None:
    assert step_path(select, ["charge", "pages", "pages[3]", "pages[3].install", "http#2"]) == found


def test_an_unknown_step_is_refused_with_those_there_are() -> None:
    with pytest.raises(SelectRefused) as refused:
        step_path("steps.chrge.output", ["account", "charge"])
    assert str(refused.value) == 'select "steps.chrge.output": no such step is recorded. Recorded: account, charge.'


@pytest.mark.parametrize("path", [".x" * 200000, "[0]" * 200000, '["' + "\\" * 100000])
def test_absurd_paths_are_refused_and_cost_nothing(path: str) -> None:
    value: Any = {"x": [1]}
    with pytest.raises(SelectRefused):
        select_from(value, path, named="result")
