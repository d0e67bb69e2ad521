"""The definition language on one page, for a model that is to write a definition."""

from __future__ import annotations

EXAMPLE = """\
name: start_trial
description: Opens a trial account and mails the invitation. A person approves paid plans. Undone if a part fails.
input:
  required: [email]
  properties:
    email: {type: string, format: email}
    plan: {type: string, enum: [free, pro], default: free}
vars: {CRM_URL: "http://127.0.0.1:8900", MAIL_URL: "http://127.0.0.1:8902"}
secrets: [CRM_TOKEN]
services:
  crm: {base_url: "${vars.CRM_URL}", auth: {bearer: "${secrets.CRM_TOKEN}"}}
steps:
  - id: agreed
    when: ${input.plan == "pro"}
    approval: {message: "A pro trial for ${input.email}?", timeout: 2d}
  - id: account
    http: {service: crm, method: POST, path: /accounts, json: {email: "${input.email}", plan: "${input.plan}"}}
    retry: {max_attempts: 4, delay: 1s}
    compensate:
      in_doubt: true
      http: {service: crm, method: DELETE, path: "/accounts/by-key/${idempotency_key}", success: [2xx, 404]}
  - id: invited
    on_error: continue
    http: {method: POST, url: "${vars.MAIL_URL}/messages", json: {to: "${input.email}", template: trial}}
output:
  account: ${steps.account.output.id}
  invited: ${steps.invited.status == "completed"}
"""

EXAMPLE_TESTS = """\
steps: # what the services answer where a test says nothing else
  account: {output: {id: a1}}
  account:compensate: {status: 200}
  invited: {status: 202}
tests:
  - name: a free trial is opened and the invitation is mailed
    input: {email: ada@example.com}
    expect:
      output: {account: a1, invited: true}
      calls: [{step: account, request: {json: {email: ada@example.com, plan: free}}}, invited]
  - name: a pro trial that nobody agrees to is not opened
    input: {email: ada@example.com, plan: pro}
    signals: [{step: agreed, decision: rejected}]
    expect: {status: failed, error: {code: rejected}, not_called: [account]}
"""

GUIDE = f"""\
A workflow is one YAML 1.2 file. It becomes a tool of the same name. Each step's result is recorded before the next
begins, failed requests are tried again with the same Idempotency-Key, and what cannot be finished is undone.

```yaml
{EXAMPLE}```

- `input` is JSON Schema; every object is closed. `description` is what an agent chooses the tool by: say what it does.
- Every step has exactly one kind: `http` (its output is the body), `set`, `wait` (`10m`, or `until`), `switch` (a list of
  `{{when, steps}}` and `{{else: [steps]}}`, or `value` and `cases`), `parallel` (named lists of steps), `for_each`
  (`items`, `steps`, `concurrency`, `output`), `repeat` (`steps`, `state`, `next`, `until`, `max_iterations`), `approval`
  (`message`, `form`, `approvers`, `timeout`), `signal` (`name`, `schema`, `timeout`), `workflow` (`name`, `input`),
  `python` (`call`, `args`), `mcp_tool` (`service`, `tool`, `arguments`), `jq` (`filter`, `input`), `return`, `fail`.
  Beside it: `id`, `title`, `when`, `output`, `retry`, `timeout`, `on_error` (`continue`, or arms as in `switch`),
  `compensate`, `at_most_once`.
- `${{...}}` holds one CEL expression over `input`, `vars`, `steps.<id>.output`, `.status`, `.error`; `result` in `output`
  and `success`; `item` and `index` in loops; `error` in `on_error`; `secrets` only in requests and services. What may be
  missing is read as `${{input.?note}}`, also the output of a step with `when`: `${{steps.agreed.?output.?note}}`.
  In `{{ }}` and `[ ]` quote every `${{...}}`.
- Whatever changes something outside gets a `compensate`, with `in_doubt: true` where it can be found by the key of the
  lost call; or `at_most_once: true` where a repetition would do harm. `retry` is for what may succeed the next time.
- Addresses are `vars`, credentials are `secrets`, never literals.
"""
