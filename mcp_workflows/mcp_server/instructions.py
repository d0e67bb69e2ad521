"""What the server tells every client once, at the start of a session: the protocol of runs.

Clients that defer tools show a model only the tools' names and this text, so the protocol stands here and not in each
description.
"""

from __future__ import annotations

INSTRUCTIONS = (
    'Each workflow tool here starts a durable run. If it ends within 10 s you get status "completed" and the result. '
    "Otherwise you get a run_id: call get_run with wait_seconds 50 until status is completed, failed, cancelled or "
    'paused. waiting_for means that someone must answer: by "person", give the user the url or the command; by '
    '"anyone", signal_run. Never decide for a person. "waiting" without it goes on by itself at the time that next '
    'names. "paused": read error, then resume_run (with a correction) or cancel_run. "failed": next says whether '
    "resume_run can help. While a server is up, runs go on when you do not look; if you lost a run_id, call list_runs. "
    "Calling a tool again with the same input joins the run that is still going."
)

TO_BE_FOUND = (
    "More workflows are not tools of their own: find_workflows gives their names and input schemas, "
    "start_workflow starts one."
)


def instructions(*, searched: bool) -> str:
    """``searched``: some workflows have to be found."""
    return f"{INSTRUCTIONS} {TO_BE_FOUND}" if searched else INSTRUCTIONS
