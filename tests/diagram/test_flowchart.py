"""What is drawn of a definition: every step, in the order in which it is done, and what happens when it fails."""

from __future__ import annotations

from mcp_workflows.diagram import flowchart
from mcp_workflows.diagram.labels import LONGEST, escaped, span
from tests.definition.loading import load


def drawn(body: str) -> list[str]:
    return [line.strip() for line in flowchart(load(body)).splitlines()]


def test_steps_follow_one_another_and_one_with_a_condition_can_be_passed_over() -> None:
    assert drawn(
        """
        input: {required: [n], properties: {n: {type: integer}}}
        steps:
          - id: charge
            title: Charge it
            http: {method: POST, url: "https://shop.example/charges"}
            compensate:
              http: {method: DELETE, url: "https://shop.example/charges/1"}
          - id: ask
            when: ${input.n > 3}
            approval: {message: "Go on with ${input.n}?", timeout: 2d}
          - wait: 90m
        """
    ) == [
        "flowchart TD",
        's1(["a"])',
        's2["charge: Charge it<br>POST https://shop.example/charges"]',
        "s1 --> s2",
        's3>"DELETE https://shop.example/charges/1"]',
        's2 -.->|"undone by"| s3',
        's4{"input.n #gt; 3"}',
        "s2 --> s4",
        's5{{"ask<br>a person decides, 2d at most: Go on with ${input.n}?"}}',
        's4 -->|"yes"| s5',
        's6["wait#3<br>waits 90m"]',
        "s5 --> s6",
        's4 -->|"no"| s6',
        's7(["completed"])',
        "s6 --> s7",
    ]


def test_a_run_that_always_ends_before_its_last_line_does_not_seem_to_go_on() -> None:
    lines = drawn("steps:\n  - fail: {message: no}\n")
    assert lines[-2:] == ['s2(["fail#1<br>ends the run: failed, no"])', "s1 --> s2"]


def test_loops_and_branches_are_frames_that_arrows_lead_to_and_from() -> None:
    assert drawn(
        """
        steps:
          - id: both
            parallel:
              one: [{id: x, wait: 1s}]
              two: [{id: y, wait: 1s}]
          - id: again
            repeat:
              max_iterations: 3
              every: 1h
              steps: [{id: z, wait: 1s, when: "${index > 0}"}]
        """
    ) == [
        "flowchart TD",
        's1(["a"])',
        'subgraph s2["both<br>all at the same time"]',
        'subgraph s3["one"]',
        's4["x<br>waits 1s"]',
        "end",
        'subgraph s5["two"]',
        's6["y<br>waits 1s"]',
        "end",
        "end",
        "s1 --> s2",
        'subgraph s7["again<br>again every 1h, 3 times at most"]',
        's8{"index #gt; 0"}',
        's9["z<br>waits 1s"]',
        's8 -->|"yes"| s9',
        's10((" "))',
        "s9 --> s10",
        's8 -->|"no"| s10',
        "end",
        "s2 --> s7",
        's11(["completed"])',
        "s7 --> s11",
    ]


def test_a_line_is_never_long_and_never_more_than_one() -> None:
    text = escaped("word\n" * 100)
    assert len(text) == LONGEST
    assert text.endswith("…")
    assert "\n" not in text


def test_durations_are_told_in_the_largest_unit_that_fits() -> None:
    assert [span(seconds) for seconds in (0, 0.5, 90, 120, 7200, 172800)] == ["0s", "0.5s", "90s", "2m", "2h", "2d"]
