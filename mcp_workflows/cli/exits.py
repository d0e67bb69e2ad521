"""What the exit code of every command means; documented in ``docs/cli.md``."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Scripts branch on these, so a number never changes its meaning."""

    DONE = 0
    """Done; of a run: completed."""
    FAILED = 1
    """The run failed or was cancelled; ``validate`` found problems, ``test`` a difference; the demo could not show what
    it claims."""
    REFUSED = 2
    """The call was wrong: usage, input, settings, an unknown workflow or run. Nothing was changed."""
    PAUSED = 3
    """The run is paused: someone has to decide, with ``resume`` or ``cancel``."""
    UNFINISHED = 4
    """What was asked for is recorded, and has not happened yet: no server took it up in time."""
    UNWELL = 5
    """The database cannot be read or written. Trying again later may help."""
    INTERRUPTED = 130
    """Ctrl-C. Runs are safe and go on when a server is up."""
