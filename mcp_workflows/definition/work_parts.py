"""The texts of a step's work: what the work is made from whenever it is attempted."""

from __future__ import annotations

from collections.abc import Iterator

from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.program import (
    ApprovalWork,
    Auth,
    FailWork,
    HttpWork,
    JqWork,
    McpToolWork,
    PythonWork,
    ReturnWork,
    SetWork,
    Step,
    WaitWork,
    Work,
    WorkflowWork,
)


def reads_now(step: Step) -> bool:
    """Some text of the step's own names ``run.now``."""
    return any("run.now" in part.names for part in _parts(step))


def _parts(step: Step) -> Iterator[Template | Expression]:
    for part in (step.when, step.output, *_work_parts(step.work)):
        if isinstance(part, Template | Expression):
            yield part


def _work_parts(work: Work) -> list[object]:
    match work:
        case HttpWork():
            return [
                work.url,
                work.query,
                work.body,
                work.success,
                work.idempotency_key,
                *_sent_with(work),
                *_asked(work),
            ]
        case McpToolWork():
            return [work.server, work.arguments, *_sent_with(work)]
        case PythonWork():
            return [work.args]
        case JqWork() | WorkflowWork():
            return [work.input]
        case ApprovalWork():
            return [work.message, work.approvers]
        case SetWork():
            return [work.values]
        case WaitWork():
            return [work.until]
        case ReturnWork():
            return [work.value]
        case FailWork():
            return [work.message, work.details]
        case _:
            return []  # blocks record what they decide, and are asked again for the rest


def _sent_with(work: HttpWork | McpToolWork) -> list[Template]:
    auth: Auth | None = work.auth
    return [*(value for _, value in work.headers), *(auth.parts if auth is not None else ())]


def _asked(work: HttpWork) -> list[object]:
    if work.poll is None:
        return []
    return [work.poll.url, work.poll.until, work.poll.fail_when, *(value for _, value in work.poll.headers)]
