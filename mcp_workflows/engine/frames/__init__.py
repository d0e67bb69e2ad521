"""The live part of a run: a small frame for each step, and each list of steps, that is open now.

A frame is entered once. It asks the memo first: what is recorded there is folded, what is open there goes on, what is not
there begins. So the live machine and one rebuilt from its records are the same machine. Frames put what comes next on the
agenda instead of calling one another, so that depth and length cost no stack.

``sequence`` is a list of steps, ``step`` what all steps have in common; every other module is one form of work: ``computed``
(done at once), ``timer``, ``attempts`` (done by ``steps``), ``people`` (messages), ``child``, and the blocks ``switch``,
``repeat`` and ``lanes`` (several lists at once: ``parallel`` and ``for_each``).
"""

from __future__ import annotations

from mcp_workflows.engine.frames.host import Break, Host, MailKey, Parent, Waiter
from mcp_workflows.engine.frames.kinds import frame_of
from mcp_workflows.engine.frames.sequence import Sequence
from mcp_workflows.engine.frames.step import StepFrame

__all__ = ["Break", "Host", "MailKey", "Parent", "Sequence", "StepFrame", "Waiter", "frame_of"]
