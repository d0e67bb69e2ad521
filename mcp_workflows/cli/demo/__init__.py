"""``demo``: the main job, shown and checked, with real processes on loopback."""

from __future__ import annotations

import logging
import shlex
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mcp_workflows.cli.clients import Client
from mcp_workflows.cli.command import command
from mcp_workflows.cli.demo.claims import calls_table, claims_table
from mcp_workflows.cli.demo.narrator import Narrator
from mcp_workflows.cli.demo.server import ServerDidNotStartError
from mcp_workflows.cli.demo.story import DEFINITIONS, Story, told_story
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.options import AsJson
from mcp_workflows.cli.terminal import complain, print_json, stdout


@command
async def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the database there, to look at with `runs` and `show`.")
    ] = None,
    as_json: AsJson = False,
) -> Exit:
    """See a run survive kill -9, and another one undo what it did. Takes some ten seconds.

    Starts small sample services and a server, on loopback and free ports, in a temporary folder. Exit code 1: something
    that the demo claims did not happen.
    """
    started = time.monotonic()
    console = stdout()
    with tempfile.TemporaryDirectory(prefix="mcp-workflows-demo-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with _silent_libraries():
                async with told_story(folder, Narrator(console, quiet=as_json)) as story:
                    pass
        except (ServerDidNotStartError, TimeoutError) as error:
            complain(f"the demo could not go on: {error or 'what had to happen did not, in time'}")
            return Exit.FAILED
    seconds = time.monotonic() - started
    shown = _print_json if as_json else _print
    shown(story, console, seconds)
    if not as_json:
        _print_next(console, story.database if keep else None)
    return Exit.DONE if all(claim.holds for claim in story.claims) else Exit.FAILED


@contextmanager
def _silent_libraries() -> Generator[None]:
    """Clients complain of servers that are killed, and here that is the point."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _print(story: Story, console: Console, seconds: float) -> None:
    narrator = Narrator(console)
    narrator.act("What the services were asked, and how often")
    console.print(calls_table(story.evidence))
    narrator.act("What was claimed, checked against the services' books and the database")
    console.print(claims_table(story.claims))
    console.print()
    wrong = sum(not claim.holds for claim in story.claims)
    verdict = f"[bad]{wrong} of {len(story.claims)} claims do not hold[/]" if wrong else "[good]all of it happened[/]"
    console.print(f"{verdict} [dim]in {seconds:.1f} s[/]")


def _print_next(console: Console, kept: Path | None) -> None:
    look = f"runs --database {shlex.quote(str(kept))}" if kept else "demo --keep FOLDER"
    commands = {
        look: "the runs that you saw" if kept else "keeps the runs that you saw, to look at",
        "validate definitions": "tells of each .yaml file in that folder what is wrong with it",
        "run NAME --input '{…}'": "runs one of them here",
        "install claude-code definitions": f"has a client publish them as tools; also {', '.join(list(Client)[1:])}",
    }
    console.print("\n[name]What next[/]")
    for said, what in commands.items():
        console.print(f"  mcp-workflows {escape(said)}  [dim]{what}[/]", soft_wrap=True)
    console.print(f"  [dim]the workflow that you saw is in {escape(str(DEFINITIONS))}[/]", soft_wrap=True)


def _print_json(story: Story, _: Console, seconds: float) -> None:
    claims = [{"claim": claim.sentence, "holds": claim.holds} for claim in story.claims]
    runs = [{"run_id": seen.trace.run.run_id, "status": seen.trace.run.status.value} for seen in story.evidence]
    print_json({"claims": claims, "runs": runs, "seconds": round(seconds, 1)})
