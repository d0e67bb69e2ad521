"""``signal`` and ``approval``: waiting for a message from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import TIMEOUT, ApprovalWork, Json, SignalWork
from mcp_workflows.engine.bounds import bounded
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import Message
from mcp_workflows.engine.states import StepStatus

REJECTED = "rejected"
DECIDES = "decides"
"""In the details of an approval that nobody answered: who could have."""
"""The code of an approval that was answered with no."""


class MessageFrame(StepFrame):
    """Waits until a message comes or the time for it is over."""

    __slots__ = ()

    @property
    def asks(self) -> bool:
        return True

    def park(self, timeout: float | None, decision: Mapping[str, Json] | None) -> datetime | None:
        """Record that the step waits, unless it is recorded. Answers with the instant at which it expires."""
        if self.record.status is not StepStatus.WAITING:
            due_at = None if timeout is None else self.host.now + timedelta(seconds=timeout)
            self.write(status=StepStatus.WAITING, due_at=due_at, decision=decision)
        return self.record.due_at

    def give(self, result: Json) -> None:
        try:
            output = self.output(result)
        except ExpressionFailed as failure:
            self.fail(StepError(failure.code, f"output: {failure}"))
        else:
            self.complete(output)


class SignalFrame(MessageFrame):
    """Any message of the name; those that came early are taken first, each once, in order."""

    __slots__ = ()

    def work(self) -> None:
        work = self.step.work
        assert isinstance(work, SignalWork)
        self.host.wait(self, self.park(work.timeout, None), ("signal", work.name, 0))

    def mail(self, message: Message) -> None:
        self.give(message.body.get("data"))

    def due(self) -> None:
        assert isinstance(self.step.work, SignalWork)
        self.fail(StepError(TIMEOUT, f'the signal "{self.step.work.name}" did not come in time'))


class ApprovalFrame(MessageFrame):
    """An answer to just this wait."""

    __slots__ = ()

    @property
    def _asked(self) -> ApprovalWork:
        assert isinstance(self.step.work, ApprovalWork)
        return self.step.work

    def work(self) -> None:
        due_at = self.park(self._asked.timeout, self.record.decision or self._question())
        self.host.wait(self, due_at, ("answer", self.path, self.record.generation))

    def mail(self, message: Message) -> None:
        body = message.body
        answer = {key: body[key] for key in ("decision", "note", "form", "via") if body.get(key) is not None}
        self._decided({**answer, "by": message.actor, "at": message.received_at.isoformat()})

    def due(self) -> None:
        if self._asked.on_timeout == "reject":
            self._decided({"decision": "rejected", "at": self.host.now.isoformat(), "via": TIMEOUT})
        else:
            self.fail(StepError(TIMEOUT, "nobody decided in time", details={DECIDES: self._asked.by}))

    def _decided(self, answer: dict[str, Json]) -> None:
        if answer["decision"] == "approved" or self._asked.on_reject == "continue":
            self.give(answer)
            return
        who, note = answer.get("by", "nobody answered in time, which"), answer.get("note")
        message = f"{who} rejected it: {note}" if note else f"{who} rejected it"
        self.fail(StepError(REJECTED, message, details=answer))

    def _question(self) -> Mapping[str, Json]:
        message = bounded(self._asked.message.render(self.scope()), self.largest, "message gives")
        question: dict[str, Json] = {"message": message if isinstance(message, str) else json.dumps(message)}
        if self._asked.approvers is not None:
            question["approvers"] = self._approvers(self._asked.approvers.render(self.scope()))
        return question

    def _approvers(self, value: Json) -> Json:
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(actor, str) for actor in value) or not value:  # pyright: ignore[reportUnknownVariableType]
            raise ExpressionFailed("approval.approvers must give a list of actors, such as [web:anna]", "")
        return value  # pyright: ignore[reportUnknownVariableType]
