"""JSON as the reader of definitions meets it: the same tree with places as YAML gives, and strict.

The standard library's decoder says where a syntax error is, but not where a value stands; and it recurses, where this
stops at the depth limit.
"""

from __future__ import annotations

import json
import re

from mcp_workflows.definition.text.nodes import Map, Scalar, Seq, TextRefused, TreeBuilder
from mcp_workflows.definition.text.scalars import float_of, int_of, text_of

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_WORD = re.compile(r"true|false|null")
_WORDS = {"true": True, "false": False, "null": None}


class _Reader:
    """A pushdown over the text: ``opened`` holds the brackets that wait for their end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.builder = TreeBuilder(merge_keys=False)
        self.opened: list[str] = []

    def skip_space(self) -> str:
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def refuse(self, expected: str) -> TextRefused:
        found = self.text[self.at : self.at + 1]
        return TextRefused(self.at, f"expected {expected}, found {json.dumps(found) if found else 'the end'}")

    def expect(self, character: str) -> None:
        if self.skip_space() != character:
            raise self.refuse(f'"{character}"')
        self.at += 1

    def value(self) -> None:
        """Reads a value, or the beginning of one that holds others."""
        character = self.skip_space()
        if character == "{":
            self.builder.open(Map(self.at, self.at))
            self.begin("}")
        elif character == "[":
            self.builder.open(Seq(self.at, self.at))
            self.begin("]")
        else:
            self.scalar(character)
            self.after_value()

    def begin(self, closing: str) -> None:
        self.at += 1
        self.opened.append(closing)
        if self.skip_space() == closing:
            self.close()
        elif closing == "}":
            self.key()

    def key(self) -> None:
        if self.skip_space() != '"':
            raise self.refuse("a key in double quotes")
        self.scalar('"')
        self.expect(":")

    def close(self) -> None:
        self.at += 1
        self.opened.pop()
        self.builder.close(self.at)
        self.after_value()

    def after_value(self) -> None:
        """After a value: a comma and the next one, or the end of what it stands in."""
        if not self.opened:
            if self.skip_space():
                raise self.refuse("the end of the file")
            return
        closing = self.opened[-1]
        character = self.skip_space()
        if character == closing:
            self.close()
        elif character == ",":
            self.at += 1
            if closing == "}":
                self.key()
        else:
            raise self.refuse(f'"," or "{closing}"')

    def scalar(self, character: str) -> None:
        pattern = _STRING if character == '"' else _WORD if character in "tfn" else _NUMBER
        match = pattern.match(self.text, self.at) if character else None
        if match is None:
            raise self.refuse("a value")
        raw = match.group()
        start, self.at = self.at, match.end()
        style = None
        if pattern is _STRING:
            value, style = _string(raw, start), '"'
        elif pattern is _WORD:
            value = _WORDS[raw]
        else:
            value = float_of(raw, start) if match.group(1) or match.group(2) else int_of(raw, 10, start)
        self.builder.scalar(Scalar(value, start, self.at, style), value if isinstance(value, str) else raw)


def _string(raw: str, start: int) -> str:
    try:
        value = json.loads(raw)
    except json.JSONDecodeError as error:
        raise TextRefused(start + error.pos, error.msg) from None
    assert isinstance(value, str)
    return text_of(value, start)


def read_json(text: str) -> TreeBuilder:
    """Builds the tree of a JSON text. Raises ``TextRefused``."""
    reader = _Reader(text)
    reader.value()
    while reader.opened:
        reader.value()
    return reader.builder
