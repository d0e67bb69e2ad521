"""What a client can put before its person: a form of ours, or the page on which runs are answered.

A client that shows no forms may still open an address for its person (URL mode). That it was opened is all that such a client
can say; what was decided there the page tells the run, in the name of whoever decided.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from mcp_types import ClientCapabilities, ElicitRequest, ElicitRequestFormParams, ElicitRequestURLParams

from mcp_workflows.access.links import ANYBODY, Links
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.mcp_server.people.forms import Question, about, question
from mcp_workflows.runtime.views import RunView

_KNOWS_URLS: Final = "2025-11-25"
"""The first version of the protocol with URL mode."""
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Screen:
    """``links`` where the client only opens addresses; ``None``: it shows forms."""

    links: Links | None = None

    @property
    def shows_forms(self) -> bool:
        return self.links is None

    def answers_as(self, actor: str, *, known: bool) -> str:
        """Who answers there, as it will be recorded. ``known``: whoever asks has shown who they are."""
        return actor if self.shows_forms or known else ANYBODY

    def request(self, view: RunView, wait: Waiting, refused: str | None = None) -> ElicitRequest:
        """What is put before the person. ``refused``: why the answer before was not taken."""
        if self.links is None:
            return form_request(question(view, wait, refused))
        url = self.links.url(view.run_id, wait.key)
        return ElicitRequest(params=ElicitRequestURLParams(message=about(view, wait), url=url))

    def key(self, view: RunView, wait: Waiting) -> str:
        """Tells what is put before the person from everything else that the run ever asks them.

        An address that another server has is another request: a client that has seen the one would take the other for an error.
        """
        if self.links is None:
            return wait.key
        return f"{wait.key}@{hashlib.sha256(self.links.url(view.run_id, wait.key).encode()).hexdigest()[:8]}"


FORMS: Final = Screen()


def form_request(asked: Question) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=asked.message, requested_schema=asked.schema))


def shows_forms(capabilities: ClientCapabilities | None) -> bool:
    """A client that says nothing of modes knows the first one: forms."""
    elicitation = None if capabilities is None else capabilities.elicitation
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def opens_addresses(capabilities: ClientCapabilities | None, version: str) -> bool:
    elicitation = None if capabilities is None else capabilities.elicitation
    return elicitation is not None and elicitation.url is not None and version >= _KNOWS_URLS


class Opened:
    """The pages that people have agreed to open, as far as this server remembers: nobody is asked for that twice."""

    def __init__(self) -> None:
        self._opened: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def add(self, actor: str, run_id: str, wait: str) -> None:
        self._opened[actor, run_id, wait] = None
        if len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)

    def holds(self, actor: str, run_id: str, wait: str) -> bool:
        return (actor, run_id, wait) in self._opened
