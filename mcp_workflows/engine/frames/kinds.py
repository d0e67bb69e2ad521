"""Which frame does which kind of work."""

from __future__ import annotations

from mcp_workflows.definition import program
from mcp_workflows.definition.program import Step
from mcp_workflows.engine.frames.attempts import AttemptFrame
from mcp_workflows.engine.frames.child import ChildFrame
from mcp_workflows.engine.frames.computed import ComputedFrame
from mcp_workflows.engine.frames.host import Host, Parent
from mcp_workflows.engine.frames.lanes import ForEachFrame, ParallelFrame
from mcp_workflows.engine.frames.people import ApprovalFrame, SignalFrame
from mcp_workflows.engine.frames.repeat import RepeatFrame
from mcp_workflows.engine.frames.step import StepFrame
from mcp_workflows.engine.frames.switch import SwitchFrame
from mcp_workflows.engine.frames.timer import TimerFrame
from mcp_workflows.engine.scope import Lexical

_FRAMES: dict[type, type[StepFrame]] = {
    program.SetWork: ComputedFrame,
    program.ReturnWork: ComputedFrame,
    program.FailWork: ComputedFrame,
    program.WaitWork: TimerFrame,
    program.SignalWork: SignalFrame,
    program.ApprovalWork: ApprovalFrame,
    program.WorkflowWork: ChildFrame,
    program.SwitchWork: SwitchFrame,
    program.ParallelWork: ParallelFrame,
    program.ForEachWork: ForEachFrame,
    program.RepeatWork: RepeatFrame,
}


def frame_of(host: Host, parent: Parent, step: Step, path: str, lexical: Lexical, *, replaying: bool) -> StepFrame:
    """The frame of one step; what is not decided by the engine is done by ``steps``, in attempts."""
    kind = _FRAMES.get(type(step.work), AttemptFrame)
    return kind(host, parent, step, path, lexical, replaying=replaying)
