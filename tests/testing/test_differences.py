"""What is told when a run is not as its test says: the place of the expectation, what was expected, what came."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.testing.expectations import duration
from tests.testing.place import case, told, verdict
from tests.testing.workflows import PEOPLE, POST

ANSWERED = """\
tests:
  - name: t
    steps: {one: {output: {id: 1}}, two: {output: {id: 2, more: [1, 2]}}, one:compensate: {status: 204}}
"""
REFUSED = (
    "tests:\n  - name: t\n    steps: {one: {output: {id: 1}}, two: {status: 422}, one:compensate: {status: 204}}\n"
)


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        ("output: {two: 3}", ["flow.test.yaml:4:28 output.two", "  - 3", "  + 2"]),
        ('output: {two: "2"}', ["flow.test.yaml:4:28 output.two", '  - "2"', "  + 2"]),
        ("output: {two: true}", ["flow.test.yaml:4:28 output.two", "  - true", "  + 2"]),
        ("output: {three: 3}", ["flow.test.yaml:4:30 output.three", "  - 3", "  + nothing"]),
        ("output: [2]", ["flow.test.yaml:4:22 output", "  - [2]", '  + {"two": 2}']),
        (
            "steps: {two: {output: {more: [1]}}}",
            ["flow.test.yaml:4:43 steps.two.output.more", "  - [1]", "  + [1, 2]"],
        ),
        (
            "steps: {two: {output: {more: [1, 3]}}}",
            ["flow.test.yaml:4:47 steps.two.output.more[1]", "  - 3", "  + 2"],
        ),
        (
            "status: failed",
            ["flow.test.yaml:4:22 status", '  - "failed"', '  + "completed"'],
        ),
        ("error: {code: x}", ["flow.test.yaml:4:21 error", '  - {"code": "x"}', "  + nothing"]),
        (
            "calls: [two, one]",
            ["flow.test.yaml:4:27 calls[1]", '  - "one"', "  + nothing", "    made were: one, two"],
        ),
        (
            "calls: [{step: one, attempt: 2}]",
            ["flow.test.yaml:4:22 calls[0]", '  - "one, attempt 2"', "  + nothing", "    made were: one, two"],
        ),
        (
            "calls: [{step: two, request: {json: {of: 2}}}]",
            ["flow.test.yaml:4:55 calls[0].request.json.of", "  - 2", "  + 1"],
        ),
        ("calls: []", ["flow.test.yaml:4:21 calls", "  - []", '  + ["one", "two"]']),
        ("not_called: [one]", ["flow.test.yaml:4:27 not_called[0]", '  - "no call"', '  + ["one"]']),
        ("undone: [one]", ["flow.test.yaml:4:22 undone", '  - ["one"]', "  + []"]),
        ("compensation: none", ["flow.test.yaml:4:28 compensation", '  - "none"', "  + null"]),
        ("took: 1s", ["flow.test.yaml:4:20 took", '  - "1s"', '  + "0s"']),
        ("took: {at_least: 3d}", ["flow.test.yaml:4:31 took.at_least", '  - "at least 3d"', '  + "0s"']),
        (
            "refused: n",
            ["flow.test.yaml:4:23 refused", '  - "n"', '  + "the run was started, and is completed"'],
        ),
        (
            "steps: {one:compensate: {status: completed}}",
            [
                "flow.test.yaml:4:38 steps.one:compensate",
                '  - {"status": "completed"}',
                "  + nothing",
                "    the run never came there",
            ],
        ),
    ],
)
def test_each_difference_is_told_at_the_expectation(tmp_path: Path, expect: str, difference: list[str]):
    (found,) = told(tmp_path, POST, f"{ANSWERED}    expect: {{{expect}}}\n")
    assert found.splitlines() == difference


def test_a_run_is_expected_to_complete_unless_the_test_says_otherwise(tmp_path: Path):
    (found,) = told(tmp_path, POST, REFUSED)
    assert found.splitlines() == [
        "flow.test.yaml:2:5 status",
        '  - "completed"',
        '  + "failed"',
        "    its error is http_422 at two: POST /twos answered 422",
    ]


def test_of_a_run_that_did_not_end_as_expected_the_output_is_not_told_as_well(tmp_path: Path):
    assert len(told(tmp_path, POST, f"{REFUSED}    expect: {{output: {{two: 2}}}}\n")) == 1


def test_null_also_means_that_nothing_is_there(tmp_path: Path):
    case(tmp_path, POST, f"{ANSWERED}    expect: {{output: {{two: 2, three: null}}}}\n").check()


def test_a_part_of_a_message_is_enough(tmp_path: Path):
    case(tmp_path, POST, f"{REFUSED}    expect: {{error: {{message: answered 422}}}}\n").check()
    (found,) = told(tmp_path, POST, f"{REFUSED}    expect: {{error: {{message: answered 423}}}}\n")
    assert found.splitlines()[1:] == ['  - "answered 423"', '  + "POST /twos answered 422"']


def test_large_values_are_told_as_a_diff_of_their_lines(tmp_path: Path):
    items = ", ".join(f"item number {number}" for number in range(10))
    steps = f"steps: [{{id: many, set: {{items: [{items}]}}}}]\n"
    (found,) = told(tmp_path, steps, f"tests: [{{name: t, expect: {{output: {{items: [{items}, more]}}}}}}]\n")
    lines = found.splitlines()
    assert '  -   "more"' in lines
    assert len(lines) < 10


def test_differences_come_in_the_order_of_the_file(tmp_path: Path):
    found = told(tmp_path, POST, f"{ANSWERED}    expect: {{took: 1s, output: {{two: 1}}, not_called: [one]}}\n")
    assert [one.split(" ")[1].splitlines()[0] for one in found] == ["took", "output.two", "not_called[0]"]


def test_a_step_that_nothing_answers_says_what_to_write(tmp_path: Path):
    (found,) = told(tmp_path, POST, "tests:\n  - name: t\n    steps: {one: {output: {id: 1}}}\n")
    place, said = found.splitlines()
    assert place == "flow.test.yaml:2:11 cannot go on"
    assert '"two" sends POST /twos with {"of": 1}, and the test has no answer for it.' in said
    assert said.endswith("Write one under steps, as two: {output: …}")


def test_answers_that_run_out_name_the_step_and_the_attempt(tmp_path: Path):
    (found,) = told(tmp_path, POST, "tests:\n  - name: t\n    steps: {one: [{status: 503}, {status: 503}]}\n")
    assert '"one" makes attempt 3, and the list for one had 2 answers.' in found


def test_what_the_test_wanted_to_give_and_could_not_is_told(tmp_path: Path):
    tests = """\
tests:
  - name: t
    signals:
      - {step: approve, decision: rejected, by: alice}
      - {name: paid, data: {amount: 1}}
      - {name: paid, data: {amount: 2}}
    cancel: {at: 30d}
"""
    found = told(tmp_path, PEOPLE, tests)
    assert [one.splitlines()[0] for one in found] == ["flow.test.yaml:6:9 signals", "flow.test.yaml:7:13 cancel"]
    assert "it never took place" in found[0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("step: approve, decision: approved, by: eve, form: {limit: 1}", "answered by alice or bob, not by eve"),
        ("step: approve, decision: approved, by: bob, form: {limit: x}", 'limit: "x" is a string, expected integer'),
        ("step: approve, decision: approved, by: bob", "limit: is missing"),
        ("name: paid, data: {amount: x}, at: 0s", 'amount: "x" is a string'),
    ],
)
def test_what_a_server_would_refuse_a_test_cannot_give(tmp_path: Path, given: str, why: str):
    (found,) = told(tmp_path, PEOPLE, f"tests: [{{name: t, signals: [{{{given}}}]}}]\n")
    assert why in found


def test_a_decision_before_it_is_asked_for_is_not_kept(tmp_path: Path):
    steps = "steps: [{wait: 1h}, {id: ok, approval: {message: Well?}}]\n"
    tests = "tests: [{name: t, signals: [{step: ok, decision: approved, at: 1m}]}]\n"
    (found,) = told(tmp_path, steps, tests)
    assert 'the run does not wait for "ok" at that time' in found


@pytest.mark.parametrize(
    ("resume", "why"),
    [
        ("{again: true}", "again is only for a step that must run at most once"),
        ("{skip: true}", "one cannot be skipped, its output is read at"),
        ("{input: {n: x}}", 'n: "x" is a string'),
        ("{request: {url: x}}", "cannot be corrected here"),
    ],
)
def test_a_resume_that_would_be_refused_cannot_be_tested_with(tmp_path: Path, resume: str, why: str):
    tests = f"tests: [{{name: t, steps: {{one: {{status: 400}}}}, resume: {resume}}}]\n"
    (found,) = told(tmp_path, "on_failure: pause\n" + POST, tests)
    assert why in found


def test_a_run_that_has_no_end_is_given_up(tmp_path: Path):
    steps = "steps: [{id: on, repeat: {steps: [{id: x, http: {service: api, path: /}}], until: '${1 == 2}'}}]\n"
    (found,) = told(tmp_path, steps, "tests: [{name: t, steps: {x: {output: 1}}}]\n")
    assert "the run has not ended after" in found


def test_check_raises_with_all_of_it(tmp_path: Path):
    one = case(tmp_path, POST, f"{ANSWERED}    expect: {{output: {{two: 3}}}}\n")
    with pytest.raises(AssertionError) as raised:
        one.check()
    assert str(raised.value).splitlines()[0] == "flow: t"
    assert str(raised.value).endswith("  - 3\n  + 2")


def test_the_result_of_a_test_can_be_looked_at(tmp_path: Path):
    result = verdict(tmp_path, POST, ANSWERED).result
    assert result is not None
    assert (result.status, result.called, result.steps["one"].attempts) == ("completed", ["one", "two"], 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (90, "1m30s"), (3600, "1h"), (90061.5, "1d1h1m1.5s"), (0.25, "0.25s"), (259200, "3d")],
)
def test_durations_are_told_as_authors_write_them(seconds: float, text: str):
    assert duration(seconds) == text
