"""Warnings: what is valid and probably not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.definition.loader import load_paths, warnings_of
from tests.definition.loading import HEAD, text_of


def advised(tmp_path: Path, body: str, *, head: str = HEAD) -> list[str]:
    path = tmp_path / "a.yaml"
    path.write_text(text_of(body, head=head), encoding="utf-8")
    return [str(warning).removeprefix(f"{path}:") for warning in warnings_of(path)]


CASES: dict[str, tuple[str, list[str]]] = {
    "an enum without a type": (
        "input: {required: [plan], properties: {plan: {enum: [a, b]}}}\nsteps: [{set: {a: '${input.plan}'}}]",
        ['3:47 input: "plan": an enum without type'],
    ),
    "an expression as other tools write it": (
        """
        steps:
          - http:
              url: https://x.test
              query:
                a: "Dear {{ input.name }}, of {{ name }}"
                b: ["{{name}}", "{{- steps.x.y -}}"]
        output: "{{run.id}}"
        """,
        [
            '7:18 expr: "{{ input.name }}" is plain text here: an expression stands in ${…}',
            '8:26 expr: "{{- steps.x.y -}}" is plain text here: an expression stands in ${…}',
            '9:10 expr: "{{run.id}}" is plain text here: an expression stands in ${…}',
        ],
    ),
    "an effect that stays": (
        """
        steps:
          - id: charge
            http: {url: "https://x.test", method: POST}
          - http: {url: "https://x.test", method: POST}
        """,
        ['4:5 compensate: "charge" changes something and has no compensate: it stays, if a later step fails'],
    ),
    "an effect that the run can do without": (
        """
        steps:
          - on_error: continue
            http: {url: "https://x.test", method: POST}
          - http: {url: "https://x.test", method: POST}
        """,
        [],
    ),
    "an effect that is meant to stay": (
        """
        on_failure: pause
        steps:
          - http: {url: "https://x.test", method: POST}
          - http: {url: "https://x.test", method: POST}
        """,
        [],
    ),
    "a retry of what is attempted once": (
        """
        steps:
          - http: {url: "https://x.test", method: POST}
            at_most_once: true
            retry: {max_attempts: 3}
        """,
        ["6:5 at_most_once: retry has no effect: the step is attempted once"],
    ),
    "a step that is never reached": (
        """
        steps:
          - when: ${run.name == "b"}
            return: 1
          - return: 2
          - set: {a: 1}
        """,
        ['7:5 step: is never reached: "return#2" ends the run'],
    ),
    "what nothing reads": (
        """
        vars: {A: 1, B: 2}
        secrets: [C, D]
        services:
          e: {base_url: "https://x.test/${vars.A}"}
          f: {base_url: "https://x.test/${secrets.C}"}
        steps:
          - http: {service: e, path: /x}
          - id: g
            http: {service: e, path: /x}
          - id: h
            set: {a: 1}
          - id: i
            http: {service: e, path: /x, method: POST}
            output: ${result.status}
          - id: j
            http: {service: e, path: /x}
          - id: k
            http: {service: e, path: /x, method: POST}
        output: ${steps.j.status}
        on_failure: fail
        """,
        [
            '3:14 unused: nothing reads the variable "B"',
            '4:14 unused: nothing reads the secret "D"',
            '7:3 unused: nothing reads the service "f"',
            '10:5 unused: nothing reads the output of step "g"',
            '12:5 unused: nothing reads the output of step "h"',
            '14:5 unused: nothing reads the output of step "i"',
        ],
    ),
    "an argument that may be absent": (
        """
        input:
          required: [a]
          properties: {a: {type: string}, b: {type: string}, c: {type: string, default: x}}
        steps:
          - set: {a: "${input.a}", b: "${input.?b}", c: "${input.c}", d: "${has(input.b) ? input.b : ''}"}
          - when: ${has(input.b)}
            set: {b: "${input.b}"}
          - set: {b: "b is ${input.b}"}
          - set: {all: "${input}"}
        on_failure: fail
        """,
        [
            '7:5 unused: nothing reads the output of step "set#1"',
            '8:5 unused: nothing reads the output of step "set#2"',
            '10:5 unused: nothing reads the output of step "set#3"',
            '10:28 input: the argument "b" may be absent, and then this fails: write input.?b, or give it a default',
        ],
    ),
    "an effect that stays, at any depth": (
        """
        steps:
          - for_each:
              items: [1]
              steps:
                - id: a
                  http: {url: "https://x.test", method: POST}
          - parallel:
              left:
                - id: b
                  http: {url: "https://x.test", method: POST}
            compensate: {http: {url: "https://x.test", method: DELETE}}
          - for_each:
              items: [1]
              on_item_error: collect
              steps:
                - id: c
                  http: {url: "https://x.test", method: POST}
                - id: d
                  http: {url: "https://x.test", method: POST}
        """,
        ['7:11 compensate: "a" changes something and has no compensate: it stays, if a later step fails'],
    ),
    "an effect at the very end of the run": (
        """
        steps:
          - switch:
              - when: ${run.version == 1}
                steps:
                  - id: a
                    http: {url: "https://x.test", method: POST}
                  - id: b
                    http: {url: "https://x.test", method: POST}
              - else:
                  - id: c
                    http: {url: "https://x.test", method: POST}
            on_error:
              - else:
                  - id: d
                    http: {url: "https://x.test", method: POST}
        """,
        ['7:13 compensate: "a" changes something and has no compensate: it stays, if a later step fails'],
    ),
    "steps that are never reached, in each list": (
        """
        steps:
          - repeat:
              max_iterations: 2
              steps:
                - return: 1
                - wait: 1s
            on_error:
              - else:
                  - fail: x
                  - wait: 1s
          - id: each
            for_each:
              items: [1]
              steps: [{return: 1}]
          - id: ends
            switch:
              - when: ${run.version == 1}
                steps: [{parallel: {a: [{return: 1}], b: [{wait: 1s}]}}]
              - else: [{fail: x}]
          - wait: 1s
        """,
        [
            '8:11 step: is never reached: "return#1" ends the run',
            '12:13 step: is never reached: "fail#1" ends the run',
            '22:5 step: is never reached: "ends" ends the run',
        ],
    ),
    "what nothing reads, in blocks": (
        """
        services:
          e: {base_url: "https://x.test"}
          f: {base_url: "https://x.test"}
        on_failure: fail
        steps:
          - id: a
            parallel:
              x: [{id: a1, set: {a: 1}}, {set: {b: 1}}]
          - id: b
            for_each:
              items: ["${steps.a.output}"]
              steps: [{id: b1, set: {a: 1}}]
              output: 3
          - id: c
            switch:
              - when: ${run.version == 1}
                steps: [{id: c1, http: {service: e, path: /}}]
              - else: [{id: c2, set: {a: 1}}]
                output: ${steps.c2.output}
            output: ${result}
            on_error: [{else: [{id: c3, set: {a: 1}}]}]
          - id: d
            repeat: {steps: [{id: d1, set: {a: 1}}], state: 1, max_iterations: 2}
          - id: e
            wait: 1s
            compensate: {for_each: {items: [1], steps: [{http: {service: f, path: /}}]}}
        output: ${steps.b.output} ${steps.c.?output}
        """,
        [
            '10:12 unused: nothing reads the output of step "a1"',
            '14:16 unused: nothing reads the output of step "b1"',
            '25:23 unused: nothing reads the output of step "d1"',
        ],
    ),
    "the last step is the result where there is no output": (
        """
        steps:
          - set: {a: 1}
        """,
        [],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_probably_not_meant_is_said(case: str, tmp_path: Path) -> None:
    body, expected = CASES[case]
    assert advised(tmp_path, body) == expected


def test_a_short_description_is_no_help_to_an_agent(tmp_path: Path) -> None:
    said = "a description of 5 characters does not tell an agent when to call this"
    assert advised(tmp_path, "steps: [{set: {a: 1}}]", head="name: a\ndescription: Short\n") == [
        f"2:1 description: {said}"
    ]
    said = "a description of 0 characters does not tell an agent when to call this"
    assert advised(tmp_path, "steps: [{set: {a: 1}}]", head="name: a\n") == [f"1:7 description: {said}"]


def test_warnings_come_with_what_was_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nsteps: [{set: {a: 1}}]\n", encoding="utf-8")
    loaded = load_paths([tmp_path])
    assert list(loaded.definitions) == ["a"]
    assert [warning.code for warning in loaded.warnings] == ["description"]
