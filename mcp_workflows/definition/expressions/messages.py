"""The library's messages, said in the language's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from mcp_workflows.definition.expressions.environments import ADDED
from mcp_workflows.definition.expressions.failures import ExpressionInvalid
from mcp_workflows.definition.expressions.guards import LIST_TOO_LONG, TEXT_TOO_LONG
from mcp_workflows.definition.expressions.variables import ROOTS, RUN

_ISSUE = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_OVERLOAD = re.compile(r"found no matching overload for '(.+)' applied to '(.*?)\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '(.*?)' \(in container '.*'\)")
_UNEXPECTED = re.compile(
    r"Syntax error: (?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting|$)", re.DOTALL
)
_RESERVED = re.compile(r"reserved identifier: (\w+)")
_NO_FIELDS_IN = re.compile(r"expression of type '([\w.]+).*' cannot be the operand of a select operation")
_UNREADABLE = re.compile(r"Syntax error: token recognition error at: '(.*)'", re.DOTALL)

_FOREIGN = {"and": "&&", "or": "||", "not": "!", "is": "==", "=": "==", "===": "==", "<>": "!=", "if": "? :"}
_FUNCTIONS = {
    **dict.fromkeys(("len", "length", "count"), "size(…)"),
    **dict.fromkeys(("upper", "toUpperCase"), "upperAscii()"),
    **dict.fromkeys(("lower", "toLowerCase"), "lowerAscii()"),
    **dict.fromkeys(("str", "toString"), "string(…)"),
    **dict.fromkeys(("float", "number"), "double(…)"),
    **dict.fromkeys(("sort", "sorted", "sortBy"), 'sort_by("key")'),
    **dict.fromkeys(("now", "today"), "run.now"),
    **dict.fromkeys(("date", "datetime"), "time(…)"),
    "uuid": "run.id, or let the service make one",
    "coalesce": "input.?x.orValue(…)",
    "default": "input.?x.orValue(…)",
}
"""What other languages call it."""
_NO_FIELDS = frozenset({"in", "true", "false", "null"})
_CONSTANTS = {"True": "true", "False": "false", "None": "null", "nil": "null", "undefined": "null"}
_TYPES = {"null_type": "null", "google.protobuf.Timestamp": "timestamp", "google.protobuf.Duration": "duration"}

NAMESPACES = frozenset({"math", "sets", "lists", "strings", "regex", "optional", "base64", "cel", "google"})
_ADDED = frozenset(ADDED)


def refusal(error: str, source: str, start: int, items: Iterable[str] = ()) -> ExpressionInvalid:
    """The checker's ``error`` as a refusal with its place. ``items``: names that are known beside the language's own."""
    issues = list(_ISSUE.finditer(error))
    if not issues or issues[0][1] == "-1":
        return ExpressionInvalid(_without_place(error), start, start)
    found = issues[0]
    lines = source.split("\n")
    line, column = int(found[1]), int(found[2])
    offset = min(sum(len(text) + 1 for text in lines[: line - 1]) + column - 1, len(source))
    message, offset = _refused(found[3], source, offset, sorted(ROOTS.union(items)))
    undeclared = _UNDECLARED.search(found[3])
    unknown = undeclared[1].split(".")[0] if undeclared and message.startswith("unknown name") else None
    return ExpressionInvalid(message, start + offset, start, unknown=unknown)


def _without_place(error: str) -> str:
    if "recursion" in error:
        return "the expression is nested too deeply; the limit is 32 levels (so is a chain of 32 operators)"
    if "codepoint limit" in error:
        return "the expression is longer than 100,000 characters"
    return reason(error)


def _refused(text: str, source: str, offset: int, known: list[str]) -> tuple[str, int]:
    if found := _UNDECLARED.search(text):
        return _unknown(found[1], source, offset, known)
    if found := _OVERLOAD.search(text):
        return _no_overload(found[1], _split(found[3])), offset
    if "Syntax error" in text:
        return _syntax(text, source, offset)
    if found := _RESERVED.search(text):
        return f'"{found[1]}" is a reserved word of CEL', offset
    if found := _NO_FIELDS_IN.search(text):
        return f"a value of type {found[1]} has no fields", offset
    return text.strip(), offset


def _syntax(text: str, source: str, offset: int) -> tuple[str, int]:
    before = re.search(r"([A-Za-z]+)\s*$", source[:offset])
    token = re.compile(r"[A-Za-z_]\w*|[=<>]+|\S|$").search(source, offset)
    word = token[0] if token else ""
    if word == "=" and source[max(offset - 1, 0) : offset] in ("=", "!") and offset:
        word, offset = "===", max(offset - 2, 0)
    if re.fullmatch(r"\s*\{.*\}\s*", source, re.DOTALL) and ":" not in source:
        return "syntax: one brace on each side is enough: ${input.x}", max(source.find("{"), 0)
    if "??" in source[max(offset - 1, 0) : offset + 2]:
        return 'syntax: "??" is not CEL; use .orValue(…), as in input.?x.orValue("")', max(source.find("??"), 0)
    if word in _FOREIGN:
        return f'syntax: "{word}" is not CEL; use {_FOREIGN[word]}', offset
    if before is not None and before[1] in _FOREIGN:
        return f'syntax: "{before[1]}" is not CEL; use {_FOREIGN[before[1]]}', before.start(1)
    if found := _UNREADABLE.search(text):
        if found[1][:1] in "\"'":
            return "syntax: a quote is not closed, or an escape in it is none that CEL knows", offset
        return f'syntax: "{found[1][:20]}" is not CEL', offset
    if not source[offset:].strip():
        return "syntax: the expression is not complete", offset
    if word in _NO_FIELDS and source[:offset].rstrip().endswith("."):
        return f'syntax: "{word}" is a word of CEL; as a key write ["{word}"]', offset
    if _UNEXPECTED.search(text):
        return f'syntax: "{word}" cannot stand here', offset
    return "syntax: " + text.split("Syntax error: ", 1)[1].split(" expecting ", maxsplit=1)[0].strip(), offset


def _unknown(name: str, source: str, offset: int, known: list[str]) -> tuple[str, int]:
    root = name.split(".", maxsplit=1)[0]
    if root == "run":
        at = source.rfind("run", 0, offset + 1)
        return f'unknown name "{name}". Run has {_listed(part[4:] for part in sorted(RUN))}', max(at, 0)
    if root in NAMESPACES:
        at = max(source.rfind(root, 0, offset + 1), 0)
        called = re.compile(r"[\w.]*").match(source, at)
        return f'unknown function "{called[0] if called else root}"', at
    at = source.rfind(name, 0, offset + len(name))
    at = at if at >= 0 else source.rfind(root, 0, offset + 1)
    at = at if at >= 0 else offset
    if source[offset : offset + 1] == "(" or source[at + len(name) :].lstrip().startswith("("):
        if name in _ADDED:
            return f"{name}() does not take these arguments", at
        return f'unknown function "{name}"' + (f"; write {_FUNCTIONS[name]}" if name in _FUNCTIONS else ""), at
    if name in _CONSTANTS:
        return f'unknown name "{name}"; write {_CONSTANTS[name]}', at
    near = get_close_matches(root, known, 1)
    return f'unknown name "{root}"' + (f'. Did you mean "{near[0]}"?' if near else ""), at


def _no_overload(function: str, types: list[str]) -> str:
    if "optional_type" in types and function != "_?_:_":
        return "this takes no optional: end it with .orValue(…)"
    operator = function.replace("_", " ").strip() if function.startswith(("_", "!", "-")) else None
    if function == "_?_:_" and len(types) == 3:
        if types[0] not in ("bool", "dyn"):
            return f'found {types[0]}, expected bool, before "?"'
        return f"the two sides of ? : differ ({types[1]}, {types[2]}). Wrap one in dyn(…)"
    if function in ("_&&_", "_||_", "!_"):
        wrong = next((kind for kind in types if kind not in ("bool", "dyn")), "")
        return f'found {wrong}, expected bool, at "{operator}"'
    if operator is not None or function == "@in":
        hint = ": make the other a text with string(…)" if function == "_+_" and "string" in types else ""
        return f'"{operator or "in"}" does not take {" and ".join(types)}{hint}'
    return f"{function}() does not take ({', '.join(types)})"


def _split(types: str) -> list[str]:
    """``dyn, list(int), null_type`` in the language's names, without what they hold."""
    flat = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", types)
    return [_TYPES.get(kind.strip(), kind.strip()) for kind in flat.split(",") if kind.strip()]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


LIST_IS_TOO_LONG = (
    "map and filter give at most 2,000 elements here; a longer list belongs to a for_each, jq or python step"
)
TOO_MANY_ITERATIONS = "more than 10,000 iterations; a longer list belongs to a for_each, jq or python step"

_STATUS = re.compile(r"^[A-Z_]+: ")
_TAIL = re.compile(r" \[[A-Z_]+\]$")
_SAID = (
    (re.compile(f'"{LIST_TOO_LONG}"'), LIST_IS_TOO_LONG),
    (re.compile(f'"{TEXT_TOO_LONG}"'), "regex.replace() would give too long a text"),
    (re.compile(r"^Key not found in map : (.*)$", re.DOTALL), r"there is no key \1"),
    (re.compile(r"^Index error: index=(-?\d+) size=(\d+)$"), r"index \1 is outside of a list of \2"),
    (
        re.compile(r"^Index error: expected integer type, got \w+$"),
        "a list was read with a key that is no whole number",
    ),
    (re.compile(r"^Applying SELECT to non-message type$"), "a key was read from a value that is no map"),
    (
        re.compile(r"^No matching overloads found : _\[?\?.*$"),
        "“.?” or “[?…]” was used on a value that is no map or list",
    ),
    (re.compile(r"^No matching overloads found : (.*)$"), r"no such operation: \1"),
    (re.compile(r'^No value with name "(.*)" found in Activation$'), r"\1 has no value here"),
    (
        re.compile(r"^Iteration budget exceeded$"),
        "more than 10,000 iterations; a longer list belongs to a for_each, jq or python step",
    ),
    (re.compile(r"^(?:divide by zero|float division by zero|modulus by zero)$"), "division by zero"),
)


def reason(error: str) -> str:
    """Why an evaluation failed, from the library's message."""
    text = _TAIL.sub("", _STATUS.sub("", error.strip()))
    for pattern, said in _SAID:
        if found := pattern.search(text):
            return found.expand(said)
    return text
