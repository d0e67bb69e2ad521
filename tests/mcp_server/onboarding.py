"""A workflow that asks a person, whom it is about, and what a person does at the terminal."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

from mcp import Client
from typer.testing import CliRunner

from mcp_workflows.cli.program import program
from tests.mcp_server.place import told

ONBOARD = """
name: onboard_customer
description: Creates the account, charges the first invoice, and asks a person before an enterprise plan.
input:
  required: [email, plan]
  properties:
    email: {type: string, format: email}
    plan: {type: string, enum: [free, pro, enterprise]}
vars: {CRM_URL: "http://127.0.0.1:1", BILLING_URL: "http://127.0.0.1:1"}
mcp: {wait: 20s}
steps:
  - id: account
    http: {method: POST, url: "${vars.CRM_URL}/accounts", json: {email: "${input.email}", plan: "${input.plan}"}}
  - id: approve
    when: ${input.plan == "enterprise"}
    approval:
      message: Enterprise plan for ${input.email}?
      timeout: 3d
  - id: charge
    http: {method: POST, url: "${vars.BILLING_URL}/charges", json: {account: "${steps.account.output.id}", plan: pro}}
output:
  account_id: ${steps.account.output.id}
  charge_id: ${steps.charge.output.id}
  approved_by: ${steps.approve.?output.?by}
"""

TICKETS = """
name: work_tickets
description: Asks about every ticket, then waits to hear that it was paid for.
mcp: {wait: 20s}
steps:
  - id: tickets
    for_each:
      items: ${["a", "b"]}
      as: ticket
      concurrency: 2
      steps:
        - id: decide
          approval:
            message: Work on ${ticket}?
            by: anyone
            on_reject: continue
            form: {required: [hours], properties: {hours: {type: integer, minimum: 1}, rate: {type: number, default: 80}}}
  - id: paid
    signal: {name: payment, schema: {required: [amount], properties: {amount: {type: number}}}, timeout: 2h}
output:
  decisions: ${steps.tickets.output}
  amount: ${steps.paid.output.amount}
"""

CUSTOMER = {"email": "buyer@example.com", "plan": "enterprise"}


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(tool, arguments))


async def type_in(command: str, *more: str) -> str:
    """What a person does with the command that they were given, in a terminal of their own."""
    words = [*shlex.split(command), *more]
    assert words[0] == "mcp-workflows"
    result = await asyncio.to_thread(CliRunner().invoke, program(), words[1:])
    assert result.exit_code == 0, result.output
    return result.stdout
