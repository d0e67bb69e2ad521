"""YAML as it is read here: version 1.2, one document, bounded, and with the place of everything."""

from __future__ import annotations

import contextlib
import time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.text.document import read_document
from mcp_workflows.definition.text.nodes import MAX_CHARACTERS, Scalar, to_json
from mcp_workflows.errors import DefinitionInvalid


def read(text: str, file: str = "a.yaml") -> Any:
    return to_json(read_document(text, file).root)


def refusal(text: str, file: str = "a.yaml") -> str:
    with pytest.raises(DefinitionInvalid) as caught:
        read_document(text, file)
    (problem,) = caught.value.problems
    return str(problem).removeprefix(f"{file}:")


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "NO", "y", "2026-11-22", "1:30", "12:30:45", "1_000", "0b11", "=", "017x"]
)
def test_what_older_yaml_took_for_something_else_is_text(word: str) -> None:
    assert read(f"a: {word}\n{word}: b") == {"a": word, word: "b"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("9223372036854775807", 9223372036854775807),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!float 12", 12.0),
        ("'12'", "12"),
        ('"\\u263a \\U0001F600 \\ud83d\\ude00"', "☺ 😀 😀"),
        ("|\n  a\n   b\n", "a\n b\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_plain_values_are_those_of_the_core_schema(written: str, value: object) -> None:
    assert read(f"a: {written}") == {"a": value}


def test_every_key_is_a_text() -> None:
    assert read("200: a\ntrue: b\n~: c\n1.0: d") == {"200": "a", "true": "b", "~": "c", "1.0": "d"}


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    document = read_document("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\nc: z", "a.yaml")
    assert to_json(document.root) == {"a": 1, "b": "x\ny\n", "c": "z"}
    assert document.source.place(document.nearest(("c",)).start) == (5, 4)


def test_anchors_and_merges_are_resolved() -> None:
    text = "x-a: &a {one: 1, two: 2}\nx-b: &b {two: 3, three: 3}\nc: {<<: [*a, *b], one: 0}\nd: *a\ne: &s text\nf: *s\n*s : 1"
    read_back = read(text)
    assert read_back["c"] == {"one": 0, "two": 2, "three": 3}
    assert read_back["d"] == {"one": 1, "two": 2}
    assert read_back["f"] == read_back["e"] == "text"
    assert read_back["text"] == 1


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read("a: {'<<': 1}") == {"a": {"<<": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: *b", '1:4 yaml: there is no anchor "&b" before this alias'),
        ("a: &a [*a]", '1:8 yaml: "*a" stands inside what it names'),
        ("a: {<<: 3}", '1:5 yaml: "<<" takes a mapping or a list of mappings'),
        ("a: 1\n---\nb: 1", "2:1 yaml: a file holds one workflow: a second document begins here"),
        ("%YAML 1.1\n---\na: 1", "1:1 yaml: this is read as YAML 1.2; leave out the %YAML line"),
        ("a:\n\tb: 1", "2:1 yaml: a tab cannot indent YAML; use spaces"),
        ("a: @b", '1:4 yaml: a text cannot begin with "@"; quote it'),
        ("a: `b`", '1:4 yaml: a text cannot begin with "`"; quote it'),
        ('a: "b" c', "1:8 yaml: text goes on after the closing quote; quote all of it"),
        ("a: {b: c ${d} e, f: 1}", '1:10 yaml: "${" inside { } must be quoted: {b: "c ${d} e"}'),
        ('a: {b: ${c == "d"}}', """1:8 yaml: "${" inside { } must be quoted: {b: '${c == "d"}'}"""),
        ("a: b: c", "1:5 yaml: \": \" ends an unquoted text. Quote it ('b: c') or use a block (|)"),
        ("a: !ruby/object x", '1:4 yaml: the tag "!ruby/object" is not available'),
        ("a: !!python/object:os.system [x]", '1:4 yaml: the tag "!!python/object:os.system" is not available'),
        ("a: !!int x", '1:4 yaml: "x" is no !!int'),
        ("a: .inf", "1:4 yaml: .inf is not a number that JSON can hold"),
        ("a: 1e999", "1:4 yaml: 1e999 is not a number that JSON can hold"),
        ("a: 9223372036854775808", "1:4 yaml: an integer must fit 64 bits; quote it if it is an identifier"),
        ("a: " + "9" * 5000, "1:4 yaml: an integer must fit 64 bits; quote it if it is an identifier"),
        ('a: "\\ud83d"', "1:4 yaml: half of a surrogate pair is no character"),
        ("a: \x07", "1:4 yaml: the character U+0007 may not stand in YAML"),
        ("? [a]\n: b", "1:3 yaml: a key is a text, not a mapping or a list"),
        ("", "1:1 yaml: a workflow is a mapping with name, steps and so on; found nothing"),
        ("- a", "1:1 yaml: a workflow is a mapping with name, steps and so on; found a list"),
        ("hello", '1:1 yaml: a workflow is a mapping with name, steps and so on; found "hello"'),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, expected: str) -> None:
    assert refusal(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 30_000,
        "a: " + "{a: " * 30_000,
        "a: " + "[" * 30_000 + "]" * 30_000,
        "\n".join(" " * depth + "a:" for depth in range(500)),
    ],
    ids=["lists", "mappings", "closed lists", "blocks"],
)
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    began = time.monotonic()
    assert "nested deeper than 192 levels" in refusal(text)
    assert time.monotonic() - began < 10


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "larger than 1 MiB with its aliases resolved" in refusal("\n".join(lines))


def test_aliases_that_nest_are_refused() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]
    assert "nested deeper than 192 levels" in refusal("\n".join(lines))


def test_merges_that_multiply_are_refused() -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    lines = [f"a: &a {{{keys}}}", *(f"b{n}: {{<<: *a}}" for n in range(200))]
    assert 'all "<<" of a file together bring in more than 100,000 keys' in refusal("\n".join(lines))


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    began = time.monotonic()
    assert refusal("a: b\n" * (MAX_CHARACTERS // 5 + 1)).startswith("1:1 yaml: larger than 1 MiB")
    assert time.monotonic() - began < 1


@given(st.text(alphabet=st.sampled_from("ab:-?,[]{}&*!|>'\"%@`#${} \n\t\\<~.0"), max_size=60))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DefinitionInvalid):
        read_document(text, "a.yaml")


WORDS = st.lists(
    st.text(alphabet=st.sampled_from("ab c'\"\\é😀,}"), min_size=0, max_size=12).map(lambda text: f"${{{text}"),
    min_size=1,
    max_size=4,
)


def single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def double(value: str) -> str:
    return (
        '"'
        + value.replace("\\", "\\\\").replace('"', '\\"').replace("é", "\\u00e9").replace("😀", "\\ud83d\\ude00")
        + '"'
    )


def literal(value: str) -> str:
    return "|2-\n" + "\n".join(f"    {line}" for line in value.split("\n"))


@given(WORDS, st.sampled_from([single, double, literal]), st.sampled_from(["", "&anchor "]))
def test_every_expression_of_a_text_is_found_in_the_file(words: list[str], write: Any, anchor: str) -> None:
    """The n-th ``${`` of the value is the n-th of the text that wrote it, however it is written."""
    value = "".join(words).strip()
    text = f"k:\n  other: 1\n  x: {anchor}{write(value)}\nafter: 1\n"
    document = read_document(text, "a.yaml")
    scalar = cast("Scalar", document.nearest(("k", "x")))
    assert scalar.value == value
    starts = [at for at in range(len(value)) if value.startswith("${", at)]
    written = [at for at in range(len(text)) if text.startswith("${", at)]
    assert [document.source.index_in(scalar, at) for at in starts] == written


@pytest.mark.parametrize(
    "text",
    [
        "a: one\n  ${two} three\n\n  four ${five}",
        "a: 'one\n  ${two} three\n\n  four ${five}'",
        'a: "one\n  ${two} three\\\n  \\n four ${five}"',
        "a: >\n  one\n  ${two} three\n\n   four ${five}\n",
        "a: |+\n\n  one\n  ${two} three\n\n   four ${five}\n\n",
        "a: !!str &b |-\n  one ${two}\n  ${five}",
    ],
)
def test_folded_texts_keep_the_places_of_their_words(text: str) -> None:
    document = read_document(text, "a.yaml")
    scalar = cast("Scalar", document.nearest(("a",)))
    value = cast("str", scalar.value)
    for word in ("two", "five"):
        index = document.source.index_in(scalar, value.index(word))
        assert document.source.text[index : index + len(word)] == word


class TestJson:
    def test_is_read_as_strictly_as_it_is_meant(self) -> None:
        assert read('{"a": [1, -0.5e1, true, null, "\\u00e9\\n", {}, []], "on": "x"}', "a.json") == {
            "a": [1, -5.0, True, None, "é\n", {}, []],
            "on": "x",
        }

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('{"a": 1,}', '1:9 json: expected a key in double quotes, found "}"'),
            ('{"a" 1}', '1:6 json: expected ":", found "1"'),
            ('{"a": 01}', '1:8 json: expected "," or "}", found "1"'),
            ('{"a": NaN}', '1:7 json: expected a value, found "N"'),
            ('{"a": "\t"}', '1:7 json: expected a value, found "\\""'),
            ('{"a": 1} x', '1:10 json: expected the end of the file, found "x"'),
            ('{"a": [1', '1:9 json: expected "," or "]", found the end'),
            ('{"a": 1e999}', "1:7 json: 1e999 is not a number that JSON can hold"),
            ('{"a": "\\ud83d"}', "1:7 json: half of a surrogate pair is no character"),
            ("", "1:1 json: expected a value, found the end"),
            ("{'a': 1}", '1:2 json: expected a key in double quotes, found "\'"'),
        ],
    )
    def test_says_what_was_expected(self, text: str, expected: str) -> None:
        assert refusal(text, "a.json") == expected

    def test_deep_nesting_is_refused(self) -> None:
        assert refusal("[" * 100_000, "a.json") == "1:193 json: nested deeper than 192 levels"

    def test_a_key_stands_once(self) -> None:
        document = read_document('{"a": 1,\n "a": 2}', "a.json")
        assert [str(problem) for problem in document.problems] == [
            'a.json:2:2 duplicate_key: "a" is already set at line 1'
        ]

    def test_a_flow_mapping_is_yaml_even_where_it_looks_like_json(self) -> None:
        assert read('{"a": 1, b: 2}') == {"a": 1, "b": 2}

    def test_places_are_those_of_the_text(self) -> None:
        text = '{"a":\n  "x\\u00e9\\ud83d\\ude00${y}"}'
        document = read_document(text, "a.json")
        scalar = cast("Scalar", document.nearest(("a",)))
        index = document.source.index_in(scalar, cast("str", scalar.value).index("$"))
        assert document.source.place(index) == (2, text.split("\n")[1].index("$") + 1)
