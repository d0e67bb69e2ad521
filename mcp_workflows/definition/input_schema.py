"""A workflow's ``input``: which schemas model APIs take, what the tool publishes, and what arguments must hold to."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing.exceptions import Unresolvable

from mcp_workflows.definition.json_text import to_ascii
from mcp_workflows.definition.mirrored import check_mirrored
from mcp_workflows.definition.phrases import nearest
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.definition.text.document import Document, Path
from mcp_workflows.definition.text.nodes import Map, Node, Scalar, Seq, to_json
from mcp_workflows.definition.validator import PatternRefused, pattern
from mcp_workflows.definition.violations import path_of, sentence, shown, violations
from mcp_workflows.errors import InputRefused

RESERVED = "_idempotency_key"
MAX_INPUT_BYTES = 1 << 20
MAX_INPUT_DEPTH = 64
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFUSED_AT_TOP = ("oneOf", "anyOf", "allOf", "not", "$ref")
_SUBSCHEMAS = (
    *("items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_SUBSCHEMA_LISTS = ("oneOf", "anyOf", "allOf", "prefixItems")
_SUBSCHEMA_MAPS = ("properties", "patternProperties", "$defs", "dependentSchemas")
_KEYWORDS = frozenset(
    re.findall(
        r"\S+",
        "$id $schema $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs prefixItems items contains "
        "additionalProperties properties patternProperties dependentSchemas propertyNames if then else allOf anyOf oneOf not "
        "unevaluatedItems unevaluatedProperties type const enum multipleOf maximum exclusiveMaximum minimum exclusiveMinimum "
        "maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties minProperties "
        "required dependentRequired title description default deprecated readOnly writeOnly examples format "
        "contentEncoding contentMediaType contentSchema",
    )
)


def published(schema: Mapping[str, Json]) -> dict[str, Json]:
    """What the tool publishes: ``schema`` with what is implied written out."""
    full: dict[str, Json] = {"type": "object", "properties": {}, **schema}
    full.setdefault("additionalProperties", False)
    return full


def check_schema(document: Document, path: Path, *, of_arguments: bool = True, code: str | None = None) -> None:
    """Reports what is wrong with the schema at ``path``; of arguments also what model APIs refuse."""
    node = document.node(path)
    if not isinstance(node, Map):
        return
    code = code or str(path[-1])
    _check_metaschema(document, path, code)
    if of_arguments:
        _check_top(document, node)
        check_mirrored(document, node)
    schemas = list(_subschemas(node, None))
    known = {id(part) for _, part in schemas}
    for name, part in schemas:
        _check_words(document, part, code)
        _check_references(document, node, known, part, code)
        if of_arguments:
            _check_for_models(document, name, part)
    _check_unevaluated(document, [part for _, part in schemas], code)
    _check_defaults(document, node, code)


def check_data_schema(document: Document, path: Path) -> None:
    """Reports what is wrong with the schema at ``path`` of what a message holds, which is an object as arguments are."""
    node = document.node(path)
    if not isinstance(node, Map):
        return
    code = str(path[-2])
    check_schema(document, path, of_arguments=False, code=code)
    kind = node.entries.get("type")
    if kind is not None and to_json(kind.value) != "object":
        document.refuse(kind.value, code, "what a message holds is an object: leave type out")
    for name, entry in node.entries.items():
        if name not in _KEYWORDS and not name.startswith("x-"):
            document.refuse(entry.key, code, f'"{name}" is no word of JSON Schema; fields stand under properties')
        elif name == "$schema":
            document.refuse(entry.key, code, "no $schema here: it is JSON Schema 2020-12")
        elif name in _REFUSED_AT_TOP:
            message = (
                "no oneOf, anyOf, allOf, not or $ref at the top: fields stand under properties, and there are no others"
            )
            document.refuse(entry.key, code, message)


def _metaschema() -> Any:
    return Draft202012Validator(Draft202012Validator.META_SCHEMA)


def _check_metaschema(document: Document, path: Path, code: str) -> None:
    schema = document.value(path)
    validator = _metaschema()
    for error in cast("Iterator[ValidationError]", validator.iter_errors(schema)):
        place = (*path, *error.absolute_path)
        where = f"{path_of(list(error.absolute_path))}: " if error.absolute_path else ""
        document.refuse(document.nearest(place), code, f"this is no JSON Schema: {where}{sentence(error)}")


def _check_top(document: Document, schema: Map) -> None:
    for word in _REFUSED_AT_TOP:
        if word in schema.entries:
            message = "no oneOf, anyOf, allOf, not or $ref at the top: model APIs refuse the whole tool list"
            document.refuse(schema.entries[word].key, "input", message)
    kind = schema.entries.get("type")
    if kind is not None and to_json(kind.value) != "object":
        document.refuse(kind.value, "input", "the arguments of a tool are an object: leave type out")
    for name, entry in schema.entries.items():
        if name not in _KEYWORDS and not name.startswith("x-"):
            message = f'"{name}" is no word of JSON Schema; the arguments stand under properties'
            document.refuse(entry.key, "input", message)
    properties = schema.entries.get("properties")
    if properties is not None and isinstance(properties.value, Map) and RESERVED in properties.value.entries:
        document.refuse(properties.value.entries[RESERVED].key, "input", f'"{RESERVED}" is reserved')


def _subschemas(node: Node, name: Scalar | None) -> Iterator[tuple[Scalar | None, Map]]:
    """Every schema in the schema, with the key of the property it describes, as far as it describes one."""
    if not isinstance(node, Map):
        return
    yield name, node
    for word, entry in node.entries.items():
        if word in _SUBSCHEMA_MAPS and isinstance(entry.value, Map):
            for key, inner in entry.value.entries.values():
                yield from _subschemas(inner, key)
        elif word in _SUBSCHEMAS:
            yield from _subschemas(entry.value, name)
        elif word in _SUBSCHEMA_LISTS and isinstance(entry.value, Seq):
            for item in entry.value.items:
                yield from _subschemas(item, name)


def _check_words(document: Document, schema: Map, code: str) -> None:
    """Typing errors that JSON Schema would pass over in silence."""
    for word, entry in schema.entries.items():
        near = nearest(word, _KEYWORDS) if word not in _KEYWORDS and word != "x" else None
        if near is not None and not word.startswith("x-") and near.lower() != word:
            document.refuse(entry.key, code, f'"{word}" is no word of JSON Schema. Did you mean "{near}"?')
    _check_patterns(document, schema, code)
    form = schema.entries.get("format")
    if form is not None and isinstance(form.value, Scalar) and isinstance(form.value.value, str):
        known = Draft202012Validator.FORMAT_CHECKER.checkers
        near = nearest(form.value.value, known) if form.value.value not in known else None
        if near is not None:
            document.refuse(form.value, code, f'format "{form.value.value}" is not known. Did you mean "{near}"?')


def _check_patterns(document: Document, schema: Map, code: str) -> None:
    entry, by_pattern = schema.entries.get("pattern"), schema.entries.get("patternProperties")
    patterns = [entry.value] if entry is not None else []
    if by_pattern is not None and isinstance(by_pattern.value, Map):
        patterns += [inner.key for inner in by_pattern.value.entries.values()]
    for node in patterns:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            try:
                pattern(node.value)
            except PatternRefused as refused:
                document.refuse(node, code, f"this pattern is not taken: {refused}")


def _check_unevaluated(document: Document, schemas: list[Map], code: str) -> None:
    """``jsonschema`` matches by a backtracking ``re`` what these two mean together."""
    if any("patternProperties" in schema.entries for schema in schemas):
        for schema in schemas:
            if "unevaluatedProperties" in schema.entries:
                message = "unevaluatedProperties and patternProperties are not taken together; use additionalProperties"
                document.refuse(schema.entries["unevaluatedProperties"].key, code, message)


def _check_references(document: Document, root: Map, known: Collection[int], schema: Map, code: str) -> None:
    """``known``: the ids of all schemas in ``root``; what stands elsewhere was not checked."""
    for word in ("$dynamicRef", "$id", "$schema"):
        if word in schema.entries and (word == "$dynamicRef" or schema is not root):
            message = (
                f"{word} is not taken here: only what stands in this schema can be referred to, as $ref: '#/$defs/name'"
            )
            document.refuse(schema.entries[word].key, code, message)
    entry = schema.entries.get("$ref")
    if entry is None or not isinstance(entry.value, Scalar):
        return
    reference = str(entry.value.value)
    target: Node | None = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        target = target.entries[name].value if isinstance(target, Map) and name in target.entries else None
    if not re.match(r"#/", reference) or target is None or (isinstance(target, Map) and id(target) not in known):
        message = f'$ref "{reference[:60]}" leads nowhere: only what stands in this schema can be referred to, as #/$defs/name'
        document.refuse(entry.value, code, message)


def _check_for_models(document: Document, name: Scalar | None, schema: Map) -> None:
    """What one model API or another answers by refusing the whole tool list."""
    properties = schema.entries.get("properties")
    if properties is not None and isinstance(properties.value, Map):
        for key, entry in properties.value.entries.items():
            if not _PROPERTY.fullmatch(key):
                must = "must match [A-Za-z0-9_.-]{1,64}: a model API would refuse the whole tool list"
                document.refuse(entry.key, "input", f'property "{key[:80]}" {must}')
    kind = schema.entries.get("type")
    if kind is None:
        return
    types = to_json(kind.value)
    words = cast("list[object]", types) if isinstance(types, list) else [types]
    label = name.value if name is not None else "input"
    place = name or kind.value
    if isinstance(types, list) and "null" in words:
        listed = ", ".join(map(str, words))
        message = f'"{label}": type [{listed}] is refused by OpenAI and Gemini; leave the property out instead of null'
        document.refuse(place, "input", message)
    if "array" in words and "items" not in schema.entries:
        document.refuse(place, "input", f'array "{label}" needs items (refused by OpenAI and Gemini)')


def _check_defaults(document: Document, root: Map, code: str) -> None:
    definitions = root.entries.get("$defs")
    shared = {"$defs": to_json(definitions.value)} if definitions is not None else {}
    for _, schema in _subschemas(root, None):
        default = schema.entries.get("default")
        if default is None:
            continue
        value = to_json(default.value)
        rules = {**cast("dict[str, Any]", to_json(schema)), **shared}
        try:
            wrong = violations(rules, value) if _metaschema().is_valid(rules) else []
        except (RecursionError, Unresolvable, PatternRefused):  # reported where the reference or the pattern stands
            wrong = []
        for line in wrong:
            document.refuse(default.value, code, f"default {shown(value)} is not valid: {line.removesuffix('.')}")


def validate_input(definition: Definition, arguments: Json) -> Json:
    """The arguments with defaults filled in.

    Raises ``InputRefused`` with every violation: ``PATH: VALUE is …, expected ….``
    """
    value: Any = {} if arguments is None else arguments
    if not isinstance(value, dict):
        raise InputRefused(f"{shown(value)} is not an object of arguments.")
    try:
        return fitted(definition.input_schema, cast("dict[str, Any]", value))
    except RecursionError:
        raise InputRefused(f"The input schema of {definition.name} refers to itself without end.") from None


def fitted(schema: Mapping[str, Json], value: Json) -> Json:
    """The value with the schema's defaults filled in.

    Raises ``InputRefused`` with every violation, and ``RecursionError`` for a schema whose references have no end.
    """
    check_json(value)
    filled = copy.deepcopy(value)
    _fill(schema, filled, schema)
    if wrong := violations(schema, filled):
        raise InputRefused(" ".join(wrong))
    return filled


def _fill(schema: Any, value: Any, root: Mapping[str, Any]) -> None:
    """Puts in the defaults of what is absent, at every level that ``properties`` and ``items`` describe."""
    if not isinstance(schema, dict):
        return
    rules = resolved(cast("dict[str, Any]", schema), root)
    if isinstance(value, dict):
        properties = rules.get("properties")
        for name, inner in cast("dict[str, Any]", properties if isinstance(properties, dict) else {}).items():
            if name not in value and isinstance(inner, dict) and "default" in inner:
                value[name] = copy.deepcopy(cast("Any", inner)["default"])
            if name in value:
                _fill(inner, value[name], root)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            _fill(rules.get("items"), item, root)


def resolved(schema: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that a local ``$ref`` means. Raises ``RecursionError`` where references go round in a circle."""
    for _ in range(MAX_INPUT_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        target: Any = root
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            target = cast("dict[str, Any]", target).get(name) if isinstance(target, dict) else None
        schema = cast("dict[str, Any]", target) if isinstance(target, dict) else {}
    raise RecursionError


def check_json(value: Json, *, max_bytes: int = MAX_INPUT_BYTES, max_depth: int = MAX_INPUT_DEPTH) -> None:
    """Raises ``InputRefused`` for what no store or expression can hold: too deep, too large, out of range, no JSON."""
    waiting: list[tuple[Any, int, str]] = [(value, 1, "")]
    while waiting:
        part, depth, path = waiting.pop()
        if isinstance(part, dict | list):
            if depth > max_depth:
                raise InputRefused(f"The input is nested deeper than {max_depth} levels.")
            waiting.extend(_children(cast("Any", part), depth + 1, path))
        else:
            _check_scalar(part, path)
    size = len(to_ascii(value))
    if size > max_bytes:
        raise InputRefused(f"The input is {size:,} bytes long, at most {max_bytes:,} are taken.")


def _children(part: Any, depth: int, path: str) -> Iterator[tuple[Any, int, str]]:
    if isinstance(part, list):
        for index, item in enumerate(cast("list[Any]", part)):
            yield item, depth, f"{path}[{index}]"
        return
    for key, item in cast("dict[Any, Any]", part).items():
        if not isinstance(key, str):
            raise InputRefused(f"{path or 'input'}: the key {key!r} is not a string.")
        _check_text(key, path or "input")
        yield item, depth, f"{path}.{key}" if path else key


def _check_scalar(part: Any, path: str) -> None:
    where = f"{path}: " if path else ""
    if isinstance(part, str):
        _check_text(part, path)
    if isinstance(part, float) and not math.isfinite(part):
        raise InputRefused(f"{where}{part} is not a number that JSON can hold.")
    if isinstance(part, int) and not -(1 << 63) <= part < 1 << 63:
        raise InputRefused(f"{where}the integer does not fit 64 bits; send it as a string.")
    if not isinstance(part, str | int | float | bool | None):
        raise InputRefused(f"{where}{type(part).__name__} is not JSON.")


def _check_text(text: str, path: str) -> None:
    found = _UNSTORABLE.search(text)
    if found:
        what = "the character NUL" if found[0] == "\0" else "half of a surrogate pair"
        raise InputRefused(f"{path or 'input'}: holds {what}, which is not taken anywhere.")
