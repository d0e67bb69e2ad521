"""What people write who know other tools, and who paste: the place is that of the mistake, and the words say what to write."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

YAML = {
    "a key that is indented by one less": (
        "steps:\n  - id: a\n   http: {url: https://x.test/}\n",
        "5:4 yaml: the indentation fits nothing above: this begins in column 4, the items from line 4 in column 3",
    ),
    "a key that is indented by one more": (
        "steps:\n  - wait: 1s\noutput:\n  a: 1\n b: 2\n",
        "7:2 yaml: the indentation fits nothing above: this begins in column 2, the keys from line 1 in column 1",
    ),
    "spaces that were pasted from a page": (
        "steps:\n  - id: a\n\u00a0\u00a0\u00a0\u00a0http:\n      url: https://x.test/\n    when: ${true}\n",
        "5:1 yaml: U+00A0 looks like a space and is none; indent with spaces",
    ),
    "a brace that is not closed": (
        'steps:\n  - set: {a: "${run.id}"\n  - wait: 1s\noutput: 3\n',
        '4:10 yaml: this "{" is not closed, or a comma is missing after it',
    ),
    "a comma that is missing": (
        "steps:\n  - set: {a: 1, b: [1, 2} \n",
        '4:25 yaml: a comma is missing before this, or "]"',
    ),
    "a quote that is not closed": (
        'title: "A title\nsteps:\n  - set: {a: "${run.id}"}\n',
        "3:8 yaml: this quote is not closed, or only by the next one, at line 5",
    ),
}


@pytest.mark.parametrize("case", YAML)
def test_what_yaml_stumbles_over_is_told_where_it_began(case: str) -> None:
    body, expected = YAML[case]
    assert refusals(body) == [expected]


def test_a_key_with_a_character_that_nobody_sees_says_so() -> None:
    assert refusals("steps:\n  - wait: 1s\n    \u00a0title: x\n") == [
        '5:5 unknown_key: the key that looks like "title" holds a character that cannot be seen'
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("sleep: 1s", '"sleep" is not a key of a step. Here it is wait'),
        ("if: ${true}", '"if" is not a key of a step. Here it is when, or the kind switch'),
        ("while: ${true}", '"while" is not a key of a step. Here it is the kind repeat'),
        ("{wait: 1s, needs: a}", '"needs" is not a key of a step. Leave it out: steps are done in their order'),
        ("{wait: 1s, catch: continue}", '"catch" is not a key of a step. Here it is on_error'),
        ("script: ls", '"script" is not a key of a step. Work is done by http, python or mcp_tool'),
        ("{type: HTTP, wait: 1s}", '"type" is not a key of a step. The kind is a key of its own, such as http'),
        ("http: {url: https://x.test/, body: {}}", '"body" is not a key of http. Here it is json, form or text'),
        ("http: {url: https://x.test/, params: {}}", '"params" is not a key of http. Here it is query'),
        ("python: {call: a, name: b}", '"name" is not a key of python. Here it is call'),
        ('approval: {message: a, prompt: "Go?"}', '"prompt" is not a key of approval. Here it is message'),
        ("wait: {seconds: 5}", '"seconds" is not a key of wait. Write the duration itself, wait: 10m'),
    ],
)
def test_words_of_other_tools_are_translated(step: str, said: str) -> None:
    lines = refusals(f"steps:\n  - {step}\n  - wait: 1s\n")
    assert said in [line.split(" unknown_key: ")[-1] for line in lines]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("${account.id}", 'unknown name "account"; write steps.account.output'),
        ("${email}", 'unknown name "email"; write input.email'),
        ("${CRM_URL}", 'unknown name "CRM_URL"; write vars.CRM_URL'),
        ("${{ input.email }}", "syntax: one brace on each side is enough: ${input.x}"),
        ("${input.email ?? 'x'}", 'syntax: "??" is not CEL; use .orValue(…), as in input.?x.orValue("")'),
        ("${1 if input.n else 2}", 'syntax: "if" is not CEL; use ? :'),
        ("${len(input.email)}", 'unknown function "len"; write size(…)'),
        ("${input.email.upper()}", 'unknown function "upper"; write upperAscii()'),
        ("${now()}", 'unknown function "now"; write run.now'),
        ("${input.n.size}", 'input.n is integer and has no "size"'),
        ("${input.email[0]}", 'input.email is string and has no "0"'),
    ],
)
def test_expressions_of_other_languages_are_translated(expression: str, said: str) -> None:
    body = f"""
    input: {{required: [email, n], properties: {{email: {{type: string}}, n: {{type: integer}}}}}}
    vars: {{CRM_URL: x}}
    steps:
      - id: account
        set: {{id: 1}}
      - set: {{a: "{expression}"}}
    """
    assert [line.split(" expr: ", 1)[1] for line in refusals(body)] == [said]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{when: '${input.email}', wait: 1s}", 'found string, expected bool, in "when"'),
        ("repeat: {until: '${input.n}', steps: [wait: 1s]}", 'found int, expected bool, in "until"'),
        ("for_each: {items: '${input.n}', steps: [wait: 1s]}", 'found int, expected list, in "items"'),
        ("for_each: {items: '${input.o.n}', steps: [wait: 1s]}", 'found double, expected list, in "items"'),
    ],
)
def test_an_argument_of_the_wrong_type_is_found_where_it_stands_alone(step: str, said: str) -> None:
    body = f"""
    input:
      required: [email, n, o]
      properties:
        email: {{type: string}}
        n: {{type: integer}}
        o: {{type: object, properties: {{n: {{type: number}}}}}}
    steps:
      - {step}
    """
    assert [line.split(" expr: ", 1)[1] for line in refusals(body)] == [said]


def test_arguments_that_may_be_what_is_wanted_are_let_through() -> None:
    body = """
    input:
      required: [a, b, c]
      properties: {a: {type: array, items: {}}, b: {type: boolean}, c: {}}
    steps:
      - when: ${input.b}
        for_each: {items: "${input.a}", steps: [{when: "${input.c}", wait: 1s}]}
      - for_each: {items: "${input.c.d[0]}", steps: [{wait: 1s}]}
    """
    assert refusals(body) == []


def test_a_name_that_is_unfit_is_answered_by_one_that_fits() -> None:
    assert refusals("steps: [wait: 1s]", head="name: Refund-Order\n") == [
        '1:7 name: "Refund-Order" must match [a-z][a-z0-9_]{0,47} (it becomes a tool name). Use refund_order'
    ]
