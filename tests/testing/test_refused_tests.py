"""What is wrong with a test file is told before anything runs, each fault at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_workflows.errors import DefinitionInvalid
from mcp_workflows.testing import cases, collect, json_schema
from tests.testing.place import problems, write
from tests.testing.workflows import BLOCKS, CHILDREN, LOOP, PEOPLE, POST

ONE = "tests:\n  - name: t\n"


@pytest.mark.parametrize(
    ("steps", "tests", "expected"),
    [
        (POST, "5\n", "1:1 yaml: tests of a definition are a mapping with tests and so on; found 5"),
        (POST, "steps: {}\n", '1:1 missing: "tests" is missing'),
        (POST, "tests: []\n", "1:8 value: expected a list with something in it"),
        (POST, "tests: [{}]\n", '1:9 missing: "name" is missing'),
        (POST, ONE + "    inptu: {}\n", '3:5 unknown_key: "inptu" is not known here. Did you mean "input"?'),
        (POST, ONE + "    input: 5\n", "3:12 value: expected a mapping, found 5"),
        (POST, ONE + "    input: {}\n    input: {}\n", '4:5 duplicate_key: "input" is already set at line 3'),
        (
            POST,
            ONE + "    expect: {stat: x}\n",
            '3:14 unknown_key: "stat" is not known here. Did you mean "status"?',
        ),
        (
            POST,
            ONE + "    expect: {status: done}\n",
            '3:22 value: "done" is not one of completed, failed, cancelled, paused, waiting',
        ),
        (
            POST,
            ONE + "    expect: {error: {cod: x}}\n",
            '3:22 unknown_key: "cod" is not known here. Did you mean "code"?',
        ),
        (
            POST,
            ONE + "    steps: {one: {}}\n",
            "3:18 value: an answer has exactly one of output, status, error, crash; found none",
        ),
        (
            POST,
            ONE + "    steps: {one: [{output: 1, error: x}]}\n",
            "3:19 value: an answer has exactly one of output, status, error, crash; found output and error",
        ),
        (
            POST,
            ONE + "    steps: {one: {output: 1, body: 1}}\n",
            "3:18 value: headers and body belong to an answer with status",
        ),
        (
            POST,
            ONE + '    steps: {one: {output: {id: "${reqest.json}"}}}\n',
            '3:35 expr: unknown name "reqest". Did you mean "request"?',
        ),
        (
            POST,
            ONE + '    steps: {one: {output: "${input.n}"}}\n',
            '3:30 expr: unknown name "input". Here there are attempt, index, request',
        ),
        (POST, ONE + "    steps: {won: {output: 1}}\n", '3:13 step: "won" is no step of flow. Did you mean "two"?'),
        (
            CHILDREN,
            ONE + "    steps: {made: {status: 200}}\n",
            "3:28 value: a workflow step has no status; write output or error",
        ),
        (
            LOOP,
            ONE + "    steps: {resize: {output: []}}\n",
            '3:13 step: "resize" is a for_each step: it is done as it is, and needs no answer',
        ),
        (
            PEOPLE,
            ONE + "    steps: {approve: {output: {}}}\n",
            '3:13 step: "approve" waits for an answer: give it under signals',
        ),
        (
            PEOPLE,
            ONE + "    signals: [{step: approve}]\n",
            '3:15 missing: an approval needs "decision": approved or rejected',
        ),
        (
            PEOPLE,
            ONE + "    signals: [{decision: approved}]\n",
            "3:15 value: give a signal's name, or an approval's step and decision",
        ),
        (PEOPLE, ONE + "    signals: [{name: paid, note: x}]\n", "3:15 value: a signal has no note"),
        (
            PEOPLE,
            ONE + "    signals: [{name: payed}]\n",
            '3:22 step: no step waits for a signal "payed". Did you mean "paid"?',
        ),
        (PEOPLE, ONE + "    signals: [{step: paid, decision: approved}]\n", '3:22 step: "paid" is no approval'),
        (POST, ONE + "    resume: {skip: true, output: 1}\n", "3:13 value: give only one of output, skip"),
        (POST, ONE + "    vars: {LIMITS: 1}\n", '3:12 step: "LIMITS" is no variable of flow. Did you mean "LIMIT"?'),
        (POST, ONE + "    vars: {LIMIT: much}\n", '3:19 value: LIMIT is "much", which does not fit the default 10'),
        (
            LOOP,
            ONE + '    steps: {upload: {output: 1}, "resize[*].upload": {output: 2}}\n',
            '3:34 step: "resize[*].upload" is answered already, as "upload"',
        ),
        (
            POST,
            ONE + "    expect: {steps: {one: {error: {step: on}}}}\n",
            '3:42 step: "on" is no step of flow. Did you mean "one"?',
        ),
        (POST, ONE + "    starts_at: 2026-01-01\n", '3:16 value: "2026-01-01" is no instant like 2026-11-22T09:00:00Z'),
        (POST, ONE + "    cancel: {at: 5}\n", '3:18 duration: "5" needs a unit: 90s, 15m, 2h, 3d'),
        (POST, ONE + "    expect: {calls: [three]}\n", '3:22 step: "three" is no step of flow'),
        (POST, ONE + "    expect: {undone: [on]}\n", '3:23 step: "on" is no step of flow. Did you mean "one"?'),
        (BLOCKS, ONE + "    expect: {steps: {sized: {}}}\n", '3:22 step: "sized" is no step of flow'),
        (POST, ONE + "  - name: t\n", '3:11 name: there is a test "t" already'),
        (POST, "definition: other.yaml\n" + ONE, '1:13 file: there is no file "other.yaml" here'),
    ],
)
def test_each_fault_is_told_at_its_place(tmp_path: Path, steps: str, tests: str, expected: str):
    assert problems(tmp_path, steps, tests) == [expected]


def test_a_key_that_may_mean_two_steps_asks_for_the_path(tmp_path: Path):
    steps = """\
steps:
  - parallel:
      a: [{http: {service: api, path: /a}}]
      b: [{http: {service: api, path: /b}}]
"""
    (found,) = problems(tmp_path, steps, ONE + "    steps: {http#1: {output: 1}}\n")
    assert found == '3:13 step: "http#1" may be parallel#1.a.http#1 or parallel#1.b.http#1; write the path'


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path):
    found = problems(
        tmp_path, POST, "steps: {won: {output: 1}}\nvars: {NO: 1}\ntests: [{name: t, steps: {tow: {output: 1}}}]\n"
    )
    assert [one.split(" ")[0] for one in found] == ["1:9", "2:8", "3:27"]


def test_a_definition_that_is_refused_is_told_once_with_its_own_place(tmp_path: Path):
    write(tmp_path, "steps: []\n", ONE)
    (tmp_path / "again.test.yaml").write_text("definition: flow.yaml\n" + ONE)
    collected = collect(tmp_path)
    assert [Path(problem.file).name for problem in collected.problems] == ["flow.yaml"]
    with pytest.raises(DefinitionInvalid):
        cases(tmp_path)


def test_a_test_file_without_its_definition_says_what_to_write(tmp_path: Path):
    (tmp_path / "lonely.test.yaml").write_text(ONE)
    (problem,) = collect(tmp_path).problems
    assert problem.message == "there is no lonely.yaml beside it; say which file it tests: definition: FILE"


def test_tests_are_found_beside_definitions_and_below_folders_each_once(tmp_path: Path):
    file = write(tmp_path, POST, ONE)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.test.yaml").write_text("5")
    (tmp_path / "other.test.json").write_text('{"definition": "flow.yaml", "tests": [{"name": "from JSON"}]}')
    assert [case.name for case in cases(tmp_path, file, tmp_path / "flow.yaml")] == ["t", "from JSON"]
    assert collect(tmp_path / "nowhere").problems[0].message == "there is no such file or folder"


def test_the_schema_for_editors_accepts_tests_and_refuses_typos():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator: Any = Draft202012Validator(schema)
    good = {
        "x-mine": 1,
        "tests": [
            {
                "name": "t",
                "steps": {"a": [{"status": 503}, {"output": 1}], "b": {"error": {"code": "x"}}},
                "expect": {"calls": ["a", {"step": "b"}], "took": "3d", "steps": {"a": {"status": "completed"}}},
            }
        ],
    }
    assert list(validator.iter_errors(good)) == []
    assert not validator.is_valid({**good, "test": []})
    assert not validator.is_valid({"tests": [{"name": "t", "expect": {"outptu": 1}}]})
