"""Which names a jq program may not have, whatever else they are the names of."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import jq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_workflows.definition.jq_filter import jq_faults

compiled: Any = getattr(jq, "compile")  # noqa: B009  # it has no types
SENTENCE = "env, $ENV, input, include, import and debug are not available"

GOOD = [
    ".",
    ".env",
    '.input."debug".["env"]',
    "{env: 1}",
    "{env, a: 2, input}",
    '{"env": .input, "\\(.a)": 1}',
    ". as $env | $env",
    ". as {env: $x, $debug} | [$x, $debug]",
    '"env \\(.env) input"',
    '"\\"env\\" and \\\\"',
    '@text "x \\(.a)"',
    "# env\n.",
    "[.[] | {input: .x, debug}]",
    ".. | .a?",
    "{a: (if . then 1 else 2 end), env: 3}",
    "if . then 1 end",
    "1.5e3 + .5",
    "label $out | break $out",
    "def inputs_of(f): f; inputs_of(.a)",
    "{if: 1, end: 2, env: 3}",
]


@pytest.mark.parametrize("program", GOOD)
def test_a_name_that_is_a_key_a_field_a_variable_or_a_text_is_nobody_s_function(program: str) -> None:
    assert jq_faults(program) == []
    compiled(program)  # so jq reads it as a program too


BAD = [
    "^env",
    "^$ENV",
    "^$ENV.PATH",
    "^$ ENV",
    "^input",
    "[^inputs]",
    '^include "x"; .',
    '^import "a" as b; .',
    ".a | ^debug",
    "{a: ^env}",
    "{(^env): 1}",
    "{a: 1, ^input + 1}",
    "{a: (1, ^input)}",
    "{a: [1, ^input, 2]}",
    "{a: if . then 1, ^input, 2 else 3 end}",
    "{a: if . then 1, ^input, 2 end, env: 1}",
    '"\\(^env)"',
    '"\\("\\(^env)")"',
    '{"\\(^env)": 1}',
    "# x\\\n^env",
    "# x\r^env",
    "..^input",
    'def f: ^input; "env" | f',
]


@pytest.mark.parametrize("marked", BAD)
def test_a_function_that_reads_something_other_than_the_input_is_found_where_it_stands(marked: str) -> None:
    faults = jq_faults(marked.replace("^", ""))
    assert [(fault.offset, fault.message) for fault in faults] == [(marked.index("^"), SENTENCE)]


@pytest.mark.parametrize(
    "name", ["halt", "halt_error", "input_filename", "input_line_number", "stderr", "$__prog_args", "modulemeta"]
)
def test_what_reaches_out_of_the_program_in_other_ways_is_refused_by_its_name(name: str) -> None:
    assert [str(fault.message) for fault in jq_faults(f".a | {name}")] == [f'"{name}" is not available']


UNCLOSED = {
    "(.a": (0, '"(" is not closed'),
    "[.a, {b: 1]": (10, '"]" closes nothing'),
    ".a)": (2, '")" closes nothing'),
    '.a + "b': (5, "a text is not closed"),
    '"a \\( .b "': (9, "a text is not closed"),
    '"a \\( .b ': (4, '"(" is not closed'),
    "  ": (0, "the filter is empty; . gives the input as it is"),
}


@pytest.mark.parametrize("program", list(UNCLOSED))
def test_what_is_not_closed_is_found_where_it_was_opened(program: str) -> None:
    assert [tuple(fault) for fault in jq_faults(program)] == [UNCLOSED[program]]


PIECES = st.sampled_from(
    [
        *'{}[]()"#,:;|.$\\',
        " ",
        "\n",
        "\r",
        "\\(",
        "..",
        "env",
        "$ENV",
        "input",
        ".env",
        "{env",
        "if",
        "then",
        "else",
        "end",
        "as",
        "$x",
        "def f:",
        "1",
        "tojson",
        "@json",
        "?//",
        "reduce",
        "try",
        "1 as $x |",
        "first(",
    ]
)


@settings(max_examples=2000, deadline=None)
@given(st.lists(PIECES, max_size=14).map(" ".join) | st.lists(PIECES, max_size=14).map("".join))
def test_no_program_that_passes_reads_the_environment(program: str) -> None:
    if jq_faults(program):
        return
    with patch.dict(os.environ, {"MARK": "seen-by-jq"}):
        try:
            given_back = compiled(program).input_value({"a": 1}).all()
        except ValueError:  # jq does not take it, or it failed
            return
    assert "seen-by-jq" not in repr(given_back), program
