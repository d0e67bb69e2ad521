"""The product's command where the clock is ahead by ``SOAK_CLOCK`` seconds, or that has the flaw named by ``SOAK_FLAW``.

In the folder ``SOAK_JUDGING`` it leaves word of whom it finds silent.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcp_workflows import clock

_OFF = timedelta(seconds=float(os.environ.pop("SOAK_CLOCK", "0")))


def _wrong_now() -> datetime:
    return datetime.now(UTC) + _OFF


clock.utc_now = _wrong_now  # before anybody has it by its name

if __name__ == "__main__":
    from mcp_workflows.cli import main
    from tests.soak.flaws import FLAWS
    from tests.soak.judging import Judging

    flaw = os.environ.pop("SOAK_FLAW", "")
    if flaw:
        FLAWS[flaw]()
    judging = os.environ.pop("SOAK_JUDGING", "")
    if judging:
        Judging(Path(judging)).apply()
    main()
