"""Workflows that are there to be misused."""

from __future__ import annotations

PEOPLE = """
name: people
description: Asks a person, then an agent or Anna alone, and then waits to hear of a payment.
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: agree
    approval:
      message: May it go on?
      timeout: 3d
      by: person
      form: {required: [hours], properties: {hours: {type: integer, minimum: 1}}}
  - id: anna
    approval: {message: Anna, approvers: [web:anna], by: anyone, timeout: 1h}
  - id: paid
    signal: {name: payment, schema: {required: [amount], properties: {amount: {type: number}}}, timeout: 2h}
output: ${steps.paid.output}
"""

OPEN = """
name: open_question
description: Asks anybody, and then waits to hear of a payment.
mcp: {wait: 20s}
steps:
  - id: agree
    approval:
      message: May it go on?
      by: anyone
      form: {required: [hours], properties: {hours: {type: integer, minimum: 1}}}
  - id: paid
    signal: {name: payment, schema: {required: [amount], properties: {amount: {type: number}}}, timeout: 2h}
output: ${steps.paid.output}
"""

IMPATIENT = """
name: impatient
description: Waits for a signal for a moment, and then fails.
mcp: {wait: 20s}
on_failure: fail
steps:
  - id: paid
    signal: {name: payment, timeout: 50ms}
"""

HOARDER = """
name: hoarder
description: Asks first, and only then looks at the news that came.
mcp: {wait: 20s}
steps:
  - id: agree
    approval: {message: Go on?, by: anyone}
  - id: news
    signal: {name: news, timeout: 1h}
output: {size: "${steps.news.output.text.size()}"}
"""

UNTIL = """
name: until
description: Waits until the instant that it is given.
input: {required: [when], properties: {when: {}}}
mcp: {wait: 2s}
on_failure: fail
steps:
  - id: rest
    wait: {until: "${input.when}"}
"""

LIST = """
name: each
description: Goes through what it is given.
input: {required: [items], properties: {items: {}}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: one
    for_each:
      items: ${input.items}
      steps: [{set: {x: 1}}]
output: {count: "${steps.one.output.size()}"}
"""

MILLION = """
name: million
description: Makes a list of a million out of a thousand lists of a thousand.
mcp: {wait: 20s}
on_failure: fail
steps:
  - id: rows
    set: {row: "${lists.range(1000)}"}
  - id: all
    jq: {filter: "[range(1000) as $i | .row[]]", input: "${steps.rows.output}"}
    output: ${result}
  - id: one
    for_each:
      items: ${steps.all.output}
      steps: [{set: {x: 1}}]
"""

PARENT_OF_ITSELF = """
name: ouroboros
description: Starts itself as its child.
steps:
  - workflow: {name: ouroboros}
"""

ENDLESS_JQ = """
name: endless_jq
description: Runs a filter that does not end.
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: spin
    timeout: 1s
    jq: {filter: "def f: f; f", input: {}}
"""

FUNCTION = """
name: function
description: Calls the function that it is told to call, with what it is told.
input: {required: [what], properties: {what: {type: string}, kind: {type: string}}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: does
    switch:
      value: ${input.what}
      cases:
        block: [{python: {call: block}, timeout: 300ms}]
        block_the_loop: [{python: {call: block_the_loop}, timeout: 300ms}]
        raises: [{python: {call: raises, args: {kind: "${input.kind}"}}}]
        returns: [{python: {call: returns, args: {what: "${input.kind}"}}}]
"""

TOOL = """
name: tool
description: Calls a tool of another server, which dies of it.
input: {required: [does], properties: {does: {type: string, enum: [vanish, fail, echo, nothing]}}}
services: {tools: {mcp: tools}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: call
    switch:
      value: ${input.does}
      cases:
        vanish: [{mcp_tool: {service: tools, tool: vanish, arguments: {}}, retry: {max_attempts: 1}}]
        fail: [{mcp_tool: {service: tools, tool: fail, arguments: {}}}]
        echo: [{mcp_tool: {service: tools, tool: echo, arguments: {text: hello}}}]
        nothing: [{mcp_tool: {service: tools, tool: nothing, arguments: {}}}]
"""

POLL = """
name: poll
description: Asks again and again whether it is done.
input: {required: [url], properties: {url: {type: string}}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: job
    http:
      method: POST
      url: ${input.url}/jobs
      allowed_hosts: [127.0.0.1]
      poll: {url: "${input.url}/jobs/1", every: 50ms, timeout: 400ms, until: '${result.body.state == "done"}'}
"""

CALLBACK = """
name: callback
description: Waits until it is called back.
input: {required: [url], properties: {url: {type: string}, seconds: {type: string, default: 1m}}}
mcp: {wait: 0s}
on_failure: pause
steps:
  - id: job
    http:
      method: POST
      url: ${input.url}/jobs
      allowed_hosts: [127.0.0.1]
      json: {call: "${callback_url}"}
      callback: {timeout: 1m}
"""

SHORT_CALLBACK = CALLBACK.replace("name: callback", "name: short_callback").replace("timeout: 1m", "timeout: 200ms")

NEVER = """
name: never
description: Repeats until something holds that never does.
mcp: {wait: 20s}
on_failure: fail
steps:
  - id: again
    repeat:
      state: {n: 0}
      steps: [{set: {x: 1}}]
      next: {n: "${state.n + 1}"}
      until: ${state.n < 0}
      max_iterations: 50
"""

UNBOUNDED = (
    NEVER.replace("name: never", "name: never_at_all").replace("      max_iterations: 50\n", "").replace("20s", "0s")
)

NO_CASE = """
name: no_case
description: Switches by a value that fits no case.
input: {required: [plan], properties: {plan: {type: string}}}
mcp: {wait: 20s}
steps:
  - id: route
    switch:
      value: ${input.plan}
      cases:
        free: [{set: {price: 0}}]
        pro: [{set: {price: 9}}]
output: {status: "${steps.route.status}", price: "${steps.route.?output.?price}"}
"""

BY_NUMBER = """
name: by_number
description: Switches by whatever it is given.
input: {required: [value], properties: {value: {}}}
mcp: {wait: 20s}
steps:
  - id: route
    switch:
      value: ${input.value}
      cases: {"5": [{set: {is: five}}], "null": [{set: {is: nothing}}], "true": [{set: {is: yes}}]}
output: ${steps.route.?output.?is.orValue("no case")}
"""

CHILD = """
name: doubled
description: Doubles an amount for the run that starts it.
input: {required: [amount], properties: {amount: {type: integer}}}
steps: [{set: {twice: "${input.amount * 2}"}}]
"""

PARENT = """
name: parent
description: Gives its child whatever it is given.
input: {required: [amount], properties: {amount: {}}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: child
    workflow: {name: doubled, input: {amount: "${input.amount}"}}
"""

BLOB = """
name: blob
description: Sends a blob that it is told of.
input: {required: [url, blob], properties: {url: {type: string}, blob: {}}}
mcp: {wait: 20s}
on_failure: pause
steps:
  - id: send
    http: {method: POST, url: "${input.url}/files", allowed_hosts: [127.0.0.1], blob: "${input.blob}"}
"""

DOUBLES = """
name: doubles
description: Doubles its state at every iteration.
mcp: {wait: 20s}
on_failure: fail
steps:
  - id: twice
    repeat:
      state: {a: x}
      steps: [{set: {b: 1}}]
      next: {a: ["${state.a}", "${state.a}"]}
      max_iterations: 60
"""

NESTS = (
    DOUBLES.replace("name: doubles", "name: nests")
    .replace('["${state.a}", "${state.a}"]', '"${state}"')
    .replace("60", "3000")
)

TEXT = """\
  - id: text
    set: {x: '${lists.range(2000).map(i, "0123456789012345678901234567890123456789").join("")}'}
"""

COLLECTS = f"""
name: collects
description: Collects more than can be recorded.
mcp: {{wait: 20s}}
on_failure: fail
steps:
{TEXT}
  - id: pages
    repeat:
      steps: [{{set: {{b: 1}}}}]
      collect: ${{steps.text.output.x}}
      max_iterations: 400
"""

GATHERS = f"""
name: gathers
description: Gathers more from its items than can be recorded.
mcp: {{wait: 20s}}
on_failure: fail
steps:
{TEXT}
  - id: items
    for_each:
      items: ${{lists.range(400)}}
      on_item_error: collect
      concurrency: 4
      steps: [{{set: {{v: "${{steps.text.output.x}}"}}}}]
"""

SETS = f"""
name: sets
description: Sets more than can be recorded.
mcp: {{wait: 20s}}
on_failure: fail
steps:
{TEXT}
  - id: big
    set: {{v: "{"${steps.text.output.x}" * 16}"}}
"""

ANSWERS = f"""
name: answers
description: Answers with more than can be recorded.
mcp: {{wait: 20s}}
on_failure: fail
steps:
{TEXT}
output: {{v: "{"${steps.text.output.x}" * 300}"}}
"""


def nested(levels: int) -> str:
    """Blocks in blocks."""
    lines = ["name: nested", f"description: Holds blocks {levels} levels deep.", "steps:"]
    for level in range(levels):
        lines.append("  " * (3 * level + 1) + f"- id: b{level}")
        lines.append("  " * (3 * level + 2) + "switch:")
        lines.append("  " * (3 * level + 3) + "- when: ${1 == 1}")
        lines.append("  " * (3 * level + 3) + "  steps:")
    lines.append("  " * (3 * levels + 1) + "- set: {x: 1}")
    return "\n".join(lines) + "\n"


DEFINITIONS = {
    "people": PEOPLE,
    "open": OPEN,
    "impatient": IMPATIENT,
    "each": LIST,
    "million": MILLION,
    "endless_jq": ENDLESS_JQ,
    "function": FUNCTION,
    "tool": TOOL,
    "poll": POLL,
    "callback": CALLBACK,
    "short_callback": SHORT_CALLBACK,
    "never": NEVER,
    "never_at_all": UNBOUNDED,
    "hoarder": HOARDER,
    "until": UNTIL,
    "no_case": NO_CASE,
    "by_number": BY_NUMBER,
    "doubled": CHILD,
    "parent": PARENT,
    "blob": BLOB,
    "doubles": DOUBLES,
    "nests": NESTS,
    "collects": COLLECTS,
    "gathers": GATHERS,
    "sets": SETS,
    "answers": ANSWERS,
}
