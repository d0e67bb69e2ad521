"""What a machine has decided and not yet handed over to be recorded."""

from __future__ import annotations

from mcp_workflows.engine.records import AttemptRecord, NewChild, Outgoing, RunRecord, StepRecord, Turn


class Draft:
    """The next turn of one run. A step that is written twice is recorded once, as it was written last."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.clear()

    def clear(self) -> None:
        self.steps: dict[str, StepRecord] = {}
        self.attempts: list[AttemptRecord] = []
        self.consumed: list[int] = []
        self.kept: list[int] = []
        self.children: list[NewChild] = []
        self.outgoing: list[Outgoing] = []

    def turn(self, run: RunRecord | None, *, release: bool) -> Turn | None:
        """All of it, with the run's record if that changed; ``None`` when there is nothing to record."""
        if not (self.steps or self.attempts or self.consumed or self.kept or self.outgoing or run):
            return None
        turn = Turn(
            self._run_id,
            tuple(self.steps.values()),
            tuple(self.attempts),
            run,
            tuple(self.consumed),
            release,
            tuple(self.kept),
            tuple(self.children),
            tuple(self.outgoing),
        )
        self.clear()
        return turn


def idempotency_key(run_id: str, record: StepRecord) -> str:
    """The key that every attempt of a step carries; a corrected step is another request and gets another one."""
    return f"{run_id}:{record.path}" + (f":{record.corrected}" if record.corrected else "")
