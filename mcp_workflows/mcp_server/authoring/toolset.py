"""The authoring toolset, where a deployment turns it on: to check, test and, into a folder that it names, save definitions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcp_types import Resource, Tool, ToolAnnotations

from mcp_workflows.access.principal import OPERATE
from mcp_workflows.definition.loader import json_schema
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.errors import InputRefused, Problem
from mcp_workflows.mcp_server.authoring.drafts import Checked, Drafts
from mcp_workflows.mcp_server.authoring.guide import EXAMPLE, EXAMPLE_TESTS, GUIDE
from mcp_workflows.mcp_server.authoring.saving import save
from mcp_workflows.mcp_server.caller import Caller
from mcp_workflows.mcp_server.tools.answers import Answer, answer, refusal
from mcp_workflows.mcp_server.tools.built_in import Arguments, BuiltIn, Offered, Right, offered
from mcp_workflows.mcp_server.views import refusals
from mcp_workflows.mcp_server.views.wording import cut
from mcp_workflows.runtime.catalog import Catalog

VALIDATE, TEST, SAVE = "validate_definition", "test_definition", "save_definition"

_SERVED_SECONDS = 5.0
_PROBLEMS, _TESTS, _DIFFERENCES, _LINES = 20, 50, 5, 8
_TEXT: Json = {"type": "string", "description": "The whole YAML or JSON"}
_YAML = "application/yaml"

_DOCUMENTS: Mapping[str, tuple[str, str, str]] = {
    "authoring://guide": ("The definition language on one page", "text/markdown", GUIDE),
    "authoring://schema": ("The JSON Schema of definitions, for editors", "application/schema+json", ""),
    "authoring://examples/start_trial.yaml": ("A definition", _YAML, EXAMPLE),
    "authoring://examples/start_trial.test.yaml": ("The tests of that definition", _YAML, EXAMPLE_TESTS),
}


class Authoring:
    """``folder``: where definitions may be saved; ``None``: nowhere."""

    def __init__(self, catalog: Catalog, folder: Path | None) -> None:
        self._catalog = catalog
        self._folder = folder
        self._drafts = Drafts()

    @property
    def tools(self) -> Sequence[Offered]:
        tools = offered(AUTHORING_TOOLS, self)
        return [one for one in tools if one.tool.name != SAVE or self._folder is not None]

    @property
    def checking(self) -> str:
        """How a definition is checked here, with an example of tests: many hosts let no model read a resource."""
        saving = f" When the user agrees, {SAVE} saves it." if self._folder is not None else ""
        said = f"Check it with {VALIDATE}, write tests and run them with {TEST}.{saving}"
        return f"{said} Tests of the example above:\n\n```yaml\n{EXAMPLE_TESTS}```"

    @property
    def resources(self) -> Sequence[Resource]:
        return [
            Resource(uri=uri, name=uri.rpartition("/")[2], title=title, mime_type=mime_type)
            for uri, (title, mime_type, _) in _DOCUMENTS.items()
        ]

    def read(self, uri: str) -> tuple[str, str] | None:
        """Text and media type of one of ``resources``."""
        if uri not in _DOCUMENTS:
            return None
        _, mime_type, text = _DOCUMENTS[uri]
        return text or json.dumps(json_schema(), ensure_ascii=True), mime_type

    async def validate(self, arguments: Arguments, _caller: Caller) -> Answer:
        return answer(_told(await self._drafts.check(arguments["definition"], self._served)))

    async def test(self, arguments: Arguments, _caller: Caller) -> Answer:
        try:
            found = await self._drafts.test(arguments["definition"], arguments["tests"], self._served)
        except InputRefused as refused:
            return refusal(refusals.bounded(refused))
        return answer(_tested(found))

    async def save(self, arguments: Arguments, _caller: Caller) -> Answer:
        assert self._folder is not None, "else the tool is not served"
        text = arguments["definition"]
        checked = await self._drafts.check(text, self._served)
        if checked.definition is None:
            return refusal(_not_saved(checked.problems))
        definition = checked.definition
        served = self._served.get(definition.name)
        replace = arguments.get("replace", False)
        try:
            file = await asyncio.to_thread(save, self._folder, definition, text, served=served, replace=replace)
        except InputRefused as refused:
            return refusal(refusals.bounded(refused))
        is_served = await self._is_served(definition)
        following = (
            f"It is served as version {self._catalog.version_of(definition.name)}."
            if is_served
            else "It is saved, but not served here: the folder is none of this server's, or it was changed meanwhile."
        )
        told = {"name": definition.name, "file": str(file), "served": is_served, "next": following}
        return answer(told | _warned(checked))

    @property
    def _served(self) -> Mapping[str, Definition]:
        return self._catalog.definitions

    async def _is_served(self, definition: Definition) -> bool:
        """Once the catalog has taken it in; its watch does that, as of every file."""
        changed = asyncio.Event()
        stop = self._catalog.on_change(changed.set)
        try:
            async with asyncio.timeout(_SERVED_SECONDS):
                while (served := self._served.get(definition.name)) is None or served.digest != definition.digest:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            stop()
        return True


AUTHORING_TOOLS: tuple[BuiltIn[Authoring], ...] = (
    BuiltIn(
        Tool(
            name=VALIDATE,
            description=(
                "Checks a workflow definition: every problem with its line and column. Saves and starts nothing. "
                "The language: resource authoring://guide."
            ),
            input_schema={
                "type": "object",
                "properties": {"definition": _TEXT},
                "required": ["definition"],
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        ),
        Authoring.validate,
    ),
    BuiltIn(
        Tool(
            name=TEST,
            description="Runs the tests of a definition (as in *.test.yaml) with made-up answers of services and a fake clock.",
            input_schema={
                "type": "object",
                "properties": {"definition": _TEXT, "tests": _TEXT},
                "required": ["definition", "tests"],
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        ),
        Authoring.test,
    ),
    BuiltIn(
        Tool(
            name=SAVE,
            description="Saves a definition that has no problems; it becomes a tool of its name. Ask the user first.",
            input_schema={
                "type": "object",
                "properties": {"definition": _TEXT, "replace": {"type": "boolean", "default": False}},
                "required": ["definition"],
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False),
        ),
        Authoring.save,
        Right(OPERATE, "save definitions"),
    ),
)


def _told(checked: Checked) -> dict[str, Json]:
    told: dict[str, Json] = {"valid": checked.definition is not None}
    if checked.definition is not None:
        told["name"] = checked.definition.name
    if checked.problems:
        told["problems"] = [_line(one) for one in checked.problems[:_PROBLEMS]]
    if len(checked.problems) > _PROBLEMS:
        told["problems_omitted"] = len(checked.problems) - _PROBLEMS
    return told | _warned(checked)


def _not_saved(problems: Sequence[Problem]) -> str:
    said = " ".join(map(_line, problems[:3]))
    more = f" And {len(problems) - 3} more." if len(problems) > 3 else ""
    return cut(f"Not saved, for it has problems. {said}{more}", refusals.LONGEST)


def _warned(checked: Checked) -> dict[str, Json]:
    return {"warnings": [_line(one) for one in checked.warnings[:_PROBLEMS]]} if checked.warnings else {}


def _line(problem: Problem) -> str:
    return cut(f"{problem.line}:{problem.column} {problem.code}: {problem.message}", 300)


def _tested(found: Mapping[str, Any]) -> dict[str, Json]:
    told: dict[str, Json] = {"passed": found["passed"], "tests": [_verdict(one) for one in found["tests"][:_TESTS]]}
    if found["problems"]:
        told["problems"] = [
            cut(f"{one['file']}:{one['line']}:{one['column']} {one['code']}: {one['message']}", 300)
            for one in found["problems"][:_PROBLEMS]
        ]
    return told


def _verdict(test: Mapping[str, Any]) -> dict[str, Json]:
    told: dict[str, Json] = {"name": cut(test["name"], 200), "passed": test["passed"]}
    if differences := test.get("differences"):
        told["differences"] = [
            "\n".join(
                [f"{one['line']}:{one['column']} {one['where']}", *(cut(line, 200) for line in one["told"][:_LINES])]
            )
            for one in differences[:_DIFFERENCES]
        ]
    return told
