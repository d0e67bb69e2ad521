"""Child runs: which version of a workflow a run starts as its child, and with what input."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.input_schema import validate_input
from mcp_workflows.definition.program import Definition, WorkflowWork
from mcp_workflows.engine.outcome import ChildStart, Failed, Outcome, Parked, StepCall, StepError
from mcp_workflows.engine.records import Run
from mcp_workflows.errors import DefinitionInvalid, InputRefused
from mcp_workflows.runtime.catalog import Catalog


class Children:
    """Finds out what a ``workflow`` step is to start. The run itself is inserted with the record of the step."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def attempt(self, run: Run, call: StepCall) -> Outcome:
        """Raises ``StoreUnavailable``."""
        work = call.work
        assert isinstance(work, WorkflowWork)
        definition_id, version = run.pins[work.name]
        try:
            definition = await self._catalog.definition_of(definition_id)
            value = validate_input(definition, work.input.render(call.values))
        except ExpressionFailed as failure:
            return Failed(StepError(failure.code, f"workflow.input: {failure}"))
        except InputRefused as refused:
            return Failed(StepError("input_refused", f"{work.name} refuses its input. {refused}"))
        except DefinitionInvalid as invalid:
            return Failed(StepError("definition_invalid", f"{work.name} version {version} cannot be read: {invalid}"))
        return Parked(note=None, child=ChildStart(work.name, version, definition_id, value))


def pins_of(catalog: Catalog, definition: Definition) -> Mapping[str, tuple[int, int]]:
    """What a run of this definition, and its children, start as children: the versions served now.

    Raises ``UnknownWorkflow`` when one of them is not served here.
    """
    pins: dict[str, tuple[int, int]] = {}
    names = list(definition.children)
    while names:
        name = names.pop()
        if name not in pins:
            served = catalog.serving(name)
            pins[name] = (served.definition_id, served.version)
            names += served.definition.children
    return pins
