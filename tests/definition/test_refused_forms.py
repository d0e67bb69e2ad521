"""Files whose form is refused, each with every line that its author is shown."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

KINDS = "http, python, mcp_tool, jq, workflow, wait, signal, approval, switch, parallel, for_each, repeat, set, return {} fail"

FORM = {
    "an expression in a flow mapping is quoted": (
        """
        steps:
          - http:
              url: https://x.test/
              json: {email: ${input.email}}
        """,
        ['6:21 yaml: "${" inside { } must be quoted: {email: "${input.email}"}'],
    ),
    "an expression in a flow list is quoted": (
        """
        steps:
          - set: {a: 1, b: [${run.id}, 2]}
        """,
        ['4:21 yaml: "${" inside [ ] must be quoted: ["${run.id}"]'],
    ),
    "an expression with a colon is quoted": (
        """
        steps:
          - set:
              a: ${ {"a": 1} }
        """,
        [
            (
                """5:17 yaml: ": " ends an unquoted text. Quote it ('${ {"a": 1} }'), use a block (|), """
                "or write a mapping with ${…} at the leaves"
            )
        ],
    ),
    "a key stands once": (
        """
        on_failure: pause
        steps:
          - set: {a: 1, a: 2}
        on_failure: fail
        """,
        [
            '5:17 duplicate_key: "a" is already set at line 5',
            '6:1 duplicate_key: "on_failure" is already set at line 3',
        ],
    ),
    "unknown keys are told from those that are meant": (
        """
        titel: x
        steps:
          - tiemout: 3s
            path: /x
            http: {url: "https://x.test/", methd: GET, when: x}
          - retry: {tries: 3}
            fail: {message: x, text: y}
        """,
        [
            '3:1 unknown_key: "titel" is not a key of a workflow. Did you mean "title"?',
            '5:5 unknown_key: "tiemout" is not a key of a step. Did you mean "timeout"?',
            '6:5 unknown_key: "path" is not a key of a step. It belongs under http',
            '7:36 unknown_key: "methd" is not a key of http. Did you mean "method"?',
            '7:48 unknown_key: "when" is not a key of http. It belongs to the step',
            '8:5 retry: "fail" takes no retry: it calls nobody, and gives the same again',
            '8:13 unknown_key: "tries" is not a key of retry',
            '9:24 unknown_key: "text" is not a key of fail',
        ],
    ),
    "a step has exactly one kind": (
        """
        steps:
          - http: {url: "https://x.test/"}
            set: {a: 1}
          - id: b
          - htpp: {url: "https://x.test/"}
        """,
        [
            '5:5 kind: a step has exactly one kind; found "http" and "set"',
            f"6:5 kind: a step has exactly one kind ({KINDS.format('or')}); found none",
            '7:5 unknown_key: "htpp" is not a key of a step. Did you mean "http"?',
        ],
    ),
    "kinds of a later version are named as such": (
        """
        steps:
          - worker: {task: x}
          - compensate: {worker: {task: x}}
            wait: 1s
        """,
        [
            f'4:5 kind: "worker" is not available in this version; it has {KINDS.format("and")}',
            f'5:18 kind: "worker" is not available in this version; it has {KINDS.format("and")}',
        ],
    ),
    "ids are identifiers, not reserved and unique": (
        """
        steps:
          - id: deploy-app
            set: {a: 1}
          - id: loop
            set: {a: 1}
          - id: check
            set: {a: 1}
          - id: check
            set: {a: 1}
          - id: 2nd try
            set: {a: 1}
        """,
        [
            '4:9 id: "deploy-app" is no identifier: an expression would read it as deploy minus app. Use deploy_app',
            '6:9 id: "loop" is a reserved word of CEL (as, for, in, loop, package, var, …)',
            '10:9 id: "check" is already the id of the step at line 8; ids are unique in a file',
            '12:9 id: "2nd try" is no identifier: letters, digits and _ only. Use s_2nd_try',
        ],
    ),
    "what is needed is asked for": (
        """
        services:
          crm: {timeout: 3s}
        steps:
          - fail: {code: x}
          - wait: {}
        """,
        [
            "4:3 service: a service needs base_url, or mcp",
            '6:5 missing: fail needs "message"',
            '7:5 missing: wait needs "until"',
        ],
    ),
    "types are not guessed": (
        """
        input: 3
        vars: [a]
        secrets: {a: 1}
        mcp: {join: of, expose: tol, destructive: "no"}
        on_failure: compensat
        steps: x
        """,
        [
            "3:8 value: expected JSON Schema of the arguments, {required: [name], properties: {name: {type: string}}}, found 3",
            "4:7 value: expected a mapping, found a list",
            "5:10 value: expected a list, found a mapping",
            (
                '6:13 value: "of" is not off, running or a duration: "of" is no duration; '
                "write 90s, 15m, 2h, 3d, 1h30m or PT90S"
            ),
            '6:25 value: "tol" is not one of tool, none. Did you mean "tool"?',
            '6:43 value: expected true or false, found "no"',
            '7:13 value: "compensat" is not one of compensate, pause, fail. Did you mean "compensate"?',
            '8:8 value: expected a list of steps, each beginning with -, found "x"',
        ],
    ),
    "types of a step are not guessed": (
        """
        vars: {a-b: 1, URL: "${input.x}"}
        secrets: [1]
        steps:
          - x
          - http: x
          - set: 3
          - at_most_once: "yes"
            retry: {max_attempts: "3", for: [2x, 600], backoff: exponental, delay: -1s}
            title: ${run.id}
            set: {a: 1}
        """,
        [
            '3:8 name: "a-b" is no name for a setting; use capital letters, digits and _, as in CRM_URL',
            "3:21 expr: vars are plain values, no expression can stand here",
            "4:11 name: expected a text, found 1",
            '6:5 value: expected a mapping, found "x"',
            '7:11 value: expected a mapping with service, path, url, method, query, headers, json, form …, found "x"',
            "8:10 value: expected a mapping of values, found 3",
            '9:19 value: expected true or false, found "yes"',
            '10:5 retry: "set" takes no retry: it calls nobody, and gives the same again',
            '10:27 value: expected a whole number, found "3"',
            '10:38 retry: "2x" is not what can be tried again: connect, timeout, 429, 5xx or an error code',
            "10:42 retry: 600 is not what can be tried again: connect, timeout, 429, 5xx or an error code",
            '10:57 value: "exponental" is not one of fixed, linear, exponential. Did you mean "exponential"?',
            '10:76 duration: "-1s" is no duration; write 90s, 15m, 2h, 3d, 1h30m or PT90S',
            "11:12 expr: this is plain text, no expression can stand here",
        ],
    ),
    "an empty key is a slip": (
        """
        title:
        steps:
          - when:
            http:
            retry:
            timeout:
          - set:
        """,
        [
            "3:1 value: expected a text, found nothing",
            "5:5 expr: when must be an expression that gives true or false, found null. Write ${…}",
            "6:5 value: expected a mapping with service, path, url, method, query, headers, json, form …, found nothing",
            (
                "7:5 value: expected a mapping with max_attempts, backoff, delay, max_delay, jitter, for or give_up_after, "
                "found nothing"
            ),
            "8:5 duration: expected a duration such as 90s, 15m, 2h or 3d",
            "9:5 value: expected a mapping of values, found nothing",
        ],
    ),
    "durations have units": (
        """
        timeout: 90
        steps:
          - wait: 1x
          - wait: 0s
          - wait: {until: tomorrow}
          - wait: {until: "2026-11-22T10:00:00"}
        """,
        [
            '3:10 duration: "90" needs a unit: 90s, 15m, 2h, 3d',
            '5:11 duration: "1x" is no duration; write 90s, 15m, 2h, 3d, 1h30m or PT90S',
            '6:11 duration: "0s" must be longer than nothing',
            '7:19 wait: "tomorrow" is no instant: write 2026-11-23T02:00:00Z or an expression',
            '8:19 wait: "2026-11-22T10:00:00" is no instant: write 2026-11-23T02:00:00Z or an expression',
        ],
    ),
    "no steps are no workflow": ("steps: []\n", ["3:8 value: must have at least 1, found 0"]),
}


@pytest.mark.parametrize("case", list(FORM))
def test_every_problem_of_the_form_is_reported_at_its_place(case: str) -> None:
    body, expected = FORM[case]
    assert refusals(body) == expected


NAMES = {
    "Onboard-Customer": (
        'name: "Onboard-Customer" must match [a-z][a-z0-9_]{0,47} (it becomes a tool name). Use onboard_customer'
    ),
    "get_run": 'name: "get_run" is the name of a built-in tool',
    "12": "name: 12 must match [a-z][a-z0-9_]{0,47} (it becomes a tool name)",
    "a" * 49: f'name: "{"a" * 40}…" must match [a-z][a-z0-9_]{{0,47}} (it becomes a tool name)',
}


@pytest.mark.parametrize("name", list(NAMES))
def test_a_name_that_cannot_be_a_tool_is_refused(name: str) -> None:
    head = f"name: {name}\ndescription: Does something that an agent may want.\n"
    assert refusals("steps: [{set: {a: 1}}]\n", head=head) == [f"1:7 {NAMES[name]}"]


def test_a_file_without_a_name_is_refused_at_its_beginning() -> None:
    assert refusals("steps: [{set: {a: 1}}]\n", head="") == ['1:1 missing: a workflow needs "name"']
