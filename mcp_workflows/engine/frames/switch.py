"""``switch``: the first arm that fits."""

from __future__ import annotations

import json
from typing import cast

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Arm, Json, SwitchWork
from mcp_workflows.engine.bounds import bounded
from mcp_workflows.engine.frames.block import BlockFrame
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.scope import Lexical
from mcp_workflows.engine.states import StepStatus


class SwitchFrame(BlockFrame):
    """The arm is decided once. Where none fits the step is skipped."""

    __slots__ = ("_arm", "_sequence")

    _arm: Arm
    _sequence: Sequence

    def work(self) -> None:
        replaying = self.replaying and self.opened
        arm = self._decided() if self.opened else self._choice()
        if arm is None:
            self.settle(StepStatus.SKIPPED)
            self.parent.child_done(self.record)
            return
        if not self.opened:
            self.write(status=StepStatus.RUNNING, decision={"arm": arm.name})
        self._arm = arm
        lexical = Lexical.of(arm.steps, f"{self.path}.{arm.name}", self.lexical)
        self._sequence = self.list_of(arm.steps, lexical, replaying=replaying)
        self.host.agenda.append(self._sequence.enter)

    def child_done(self, record: StepRecord | None) -> None:
        try:
            if self._arm.output is None:
                self.complete_as(record)
            else:
                output = self._arm.output.render(self.host.scope(self._sequence.lexical, self.host.now, {}))
                self.give(bounded(output, self.largest, "it gives"))
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, f"output: {failure}"))
        else:
            self._sequence.forget()

    @property
    def _arms(self) -> tuple[Arm, ...]:
        return cast("SwitchWork", self.step.work).arms

    def _decided(self) -> Arm:
        name = self.decided("arm")
        return next(arm for arm in self._arms if arm.name == name)

    def _choice(self) -> Arm | None:
        work = cast("SwitchWork", self.step.work)
        case = None if work.value is None else _text(work.value.render(self.scope()))
        for arm in self._arms:
            if self._fits(arm, case):
                return arm
        return None

    def _fits(self, arm: Arm, case: str | None) -> bool:
        if arm.case is not None:
            return arm.case == case
        return arm.when is None or arm.when.evaluate_bool(self.scope())


def _text(value: Json) -> str:
    """As a case would be written: text as it is, everything else as JSON. 5.0 is 5, for JSON does not tell them apart."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
