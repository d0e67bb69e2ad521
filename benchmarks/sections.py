"""What ``make bench`` measures, section by section: each a command of its own, in a process of its own, bounded in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """``limit`` in seconds, several times what it takes on a quiet machine.

    ``in_turns``: it is measured in several rounds, in turns with what it is compared with, so that a machine whose pace
    changes from minute to minute favours neither.
    """

    name: str
    module: str
    arguments: tuple[object, ...]
    limit: float
    in_turns: bool = False


def sections(seconds: float, rows: int, runs: int) -> list[Section]:
    """``seconds`` for each figure, ``rows`` in the full database, ``runs`` interrupted."""
    each = ("--seconds", seconds, "--json")
    kinds = ("--kind", "set", "async", "http")
    return [
        Section("recording", "group_commit", each, 120),
        Section("clients", "http_clients", each, 120, in_turns=True),
        Section("ours_sqlite", "ten_steps", (*each, *kinds, "--on", "sqlite"), 180, in_turns=True),
        Section("ours_postgres", "ten_steps", (*each, *kinds, "--on", "postgres"), 180, in_turns=True),
        Section("dbos_sqlite", "peers.dbos_steps", (*each, "--on", "sqlite"), 400, in_turns=True),
        Section("dbos_postgres", "peers.dbos_steps", (*each, "--on", "postgres"), 400, in_turns=True),
        Section("restate", "peers.restate_steps", each, 200, in_turns=True),
        Section("calls", "tool_calls", each, 180, in_turns=True),
        Section("nodes", "nodes", each, 120),
        Section("waiting", "many_waiting", ("--rounds", 5, "--seconds", min(seconds, 1.0), "--json"), 300),
        Section("recovery_sqlite", "recovery", ("--runs", runs, "--on", "sqlite", "--json"), 400),
        Section("recovery_postgres", "recovery", ("--runs", runs, "--on", "postgres", "--json"), 400),
        Section("full_sqlite", "full_database", (*each, "--rows", rows, "--on", "sqlite"), 500),
        Section("full_postgres", "full_database", (*each, "--rows", rows, "--on", "postgres"), 500),
        Section("deciding", "flat_cost", ("--json",), 120),
        Section("big", "big_runs", ("--json",), 300),
    ]
