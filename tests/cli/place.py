"""A place to use the command line in: a folder with definitions, the sample services, and the program called in-process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from typer.testing import CliRunner

from mcp_workflows.cli.program import program
from mcp_workflows.samples.faults import Fault
from mcp_workflows.samples.server import CONTROL
from mcp_workflows.samples.services import variables
from tests.mortal import mortal

ROOT = Path(__file__).parents[2]

TRIAL = """\
name: start_trial
description: Opens a trial account and mails the invitation. Closes it again if the mail fails.
input:
  required: [email]
  properties:
    email: {type: string, format: email}
vars: {CRM_URL: "http://127.0.0.1:1", MAIL_URL: "http://127.0.0.1:1"}
on_failure: compensate
steps:
  - id: account
    http: {method: POST, url: "${vars.CRM_URL}/accounts", json: {email: "${input.email}", plan: free}}
    compensate:
      http: {method: DELETE, url: "${vars.CRM_URL}/accounts/${steps.account.output.id}", success: [2xx, 404]}
  - id: mail
    http: {method: POST, url: "${vars.MAIL_URL}/messages", json: {to: "${input.email}", template: trial}}
output:
  account: ${steps.account.output.id}
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Place:
    """The current folder of a test, with ``definitions/`` in it."""

    folder: Path
    urls: dict[str, str] = field(default_factory=dict[str, str])

    def define(self, name: str, text: str) -> Path:
        file = self.folder / "definitions" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def call(self, *arguments: str, stdin: str | None = None) -> Told:
        """The program, in this process."""
        result = CliRunner().invoke(program(), list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    def misbehave(self, *faults: Fault) -> None:
        """Arranges faults of the sample services."""
        for fault in faults:
            answer = httpx2.post(self.urls["crm"] + CONTROL + "/faults", json=fault.to_json(), trust_env=False)
            answer.raise_for_status()

    def books(self) -> Any:
        return httpx2.get(self.urls["crm"] + CONTROL + "/books", trust_env=False).json()

    @contextmanager
    def server(self) -> Generator[subprocess.Popen[str]]:
        """The real server over HTTP, as a process of its own, ended in good order."""
        process = self.start("serve", "--http", "127.0.0.1:0")
        assert process.stderr is not None
        try:
            line = ""
            while "http://127.0.0.1" not in line:
                line = process.stderr.readline()
                assert line, "the server ended at once"
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The program, as a process of its own."""
        return subprocess.Popen(
            mortal(sys.executable, "-m", "mcp_workflows", *arguments),
            cwd=self.folder,
            env=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def samples() -> Generator[dict[str, str]]:
    """The sample services as a process of their own; gives their URLs."""
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_workflows.samples", "--any-port"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def environment(urls: dict[str, str]) -> dict[str, str]:
    """What points definitions at the services."""
    return {f"MCP_WORKFLOWS_VAR_{name}": url for name, url in variables(urls).items()}
