"""What may not stand in a jq program: names that read something other than its input, and brackets that do not close.

The program is read token by token, so that ``.env``, ``{env: 1}``, ``$env`` and texts are told from the function ``env``.
Where jq's versions read a text differently, this takes the reading in which more of it is program. What jq itself does
not understand is for the step to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LISTED = frozenset({"env", "$ENV", "input", "inputs", "include", "import", "debug"})
_OTHERS = frozenset(
    {
        "$__prog_args",
        "get_search_list",
        "halt",
        "halt_error",
        "input_filename",
        "input_line_number",
        "modulemeta",
        "stderr",
    }
)
_SENTENCE = "env, $ENV, input, include, import and debug are not available"
_TOKEN = re.compile(
    r"""
      (?P<skip> \s+ | \#[^\r\n]* )
    | (?P<quote> " )
    | (?P<other> \.\. )
    | (?P<field> \.[A-Za-z_]\w* )
    | (?P<number> (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
    | (?P<format> @\w+ )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<open> [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_CLOSING = {"(": ")", "[": "]", "{": "}", '"': '"', "if": "end"}
_NAMES = {"(": '"("', "[": '"["', "{": '"{"', '"': "a text", "if": '"if"'}


class Fault(NamedTuple):
    """What is wrong with a program; ``offset`` counts its characters."""

    offset: int
    message: str


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def jq_faults(program: str) -> list[Fault]:
    """All that is wrong with the program, as far as its tokens tell."""
    if not program.strip():
        return [Fault(0, "the filter is empty; . gives the input as it is")]
    return list(_faults(list(_tokens(program))))


def _tokens(program: str) -> Iterator[_Token]:
    """A text is an opening quote, the programs in it between brackets, and a closing quote."""
    brackets: list[str] = []
    at, in_text = 0, False
    while at < len(program):
        if in_text:
            at, token = _rest_of_text(program, at)
            if token is None:
                return
            yield token
            in_text = False
            if token.kind == "open":
                brackets.append("in text")
            continue
        match = _TOKEN.match(program, at)
        assert match is not None
        kind, text, start = str(match.lastgroup), match.group(), at
        at = match.end()
        if kind == "quote":
            in_text = True
            yield _Token("open", text, start)
        elif kind != "skip":
            yield _Token(kind, text, start)
        if text == "(":
            brackets.append("in program")
        elif text == ")" and brackets:
            in_text = brackets.pop() == "in text"


def _rest_of_text(program: str, at: int) -> tuple[int, _Token | None]:
    """What ends the text at ``at``, or interrupts it, and where it goes on after that."""
    while at < len(program):
        if program[at] == '"':
            return at + 1, _Token("close", '"', at)
        if program.startswith("\\(", at):
            return at + 2, _Token("open", "(", at + 1)
        at += 2 if program[at] == "\\" else 1
    return at, None


def _faults(tokens: list[_Token]) -> Iterator[Fault]:
    opened: list[_Token] = []
    before, after = [_Token("", "", 0), *tokens], [*tokens[1:], _Token("", "", 0)]
    for last, token, following in zip(before, tokens, after, strict=False):
        inside = opened[-1].text if opened else ""
        match token.kind:
            case "open":
                opened.append(token)
            case "close":
                while opened and opened[-1].text == "if":  # without its end, which jq will say
                    opened.pop()
                if not opened or _CLOSING[opened[-1].text] != token.text:
                    yield Fault(token.start, f'"{token.text}" closes nothing')
                    return
                opened.pop()
            case "word" if not _is_key(last, inside, following):
                name, start = (f"${token.text}", last.start) if last.text == "$" else (token.text, token.start)
                if name == "if":
                    opened.append(token)
                elif name == "end" and inside == "if":
                    opened.pop()
                elif name in _LISTED:
                    yield Fault(start, _SENTENCE)
                elif name in _OTHERS:
                    yield Fault(start, f'"{name}" is not available')
            case _:
                pass
    unclosed = [token for token in opened if token.text != "if"]
    if unclosed:
        yield Fault(unclosed[-1].start, f"{_NAMES[unclosed[-1].text]} is not closed")


def _is_key(last: _Token, inside: str, following: _Token) -> bool:
    """``{env: 1}``, ``{env}``: the name of a key, whatever it is."""
    return inside == "{" and last.text in ("{", ",") and following.text in (":", ",", "}")
