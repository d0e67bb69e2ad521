"""Why it cannot be found out whom tokens name: logged when it begins, and when it is over, and not for each token."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class Trouble:
    """Of one way to find out; ``what`` names it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.text: str | None = None
        """What is wrong now; ``None``: nothing."""

    def goes_on(self, text: str) -> None:
        """Or begins, or has another reason now."""
        if text != self.text:
            logger.warning("%s: %s", self._what, text)
        self.text = text

    def is_over(self) -> None:
        if self.text is not None:
            logger.warning("%s: all is well again", self._what)
        self.text = None
