"""Workflows that the tests of workflows test."""

from __future__ import annotations

POST = """\
steps:
  - id: one
    http: {service: api, method: POST, path: "/ones/${input.n}", json: {n: "${input.n}"}}
    compensate:
      http: {service: api, method: DELETE, path: "/ones/${steps.one.output.id}"}
  - id: two
    http: {service: api, method: POST, path: /twos, json: {of: "${steps.one.output.id}"}}
output: {two: "${steps.two.output.id}"}
"""

LOOP = """\
steps:
  - id: resize
    for_each:
      items: ${input.names}
      as: name
      concurrency: 2
      on_item_error: collect
      steps:
        - id: upload
          http: {service: api, method: POST, path: "/images/${name}"}
output: ${steps.resize.output}
"""

BLOCKS = """\
steps:
  - id: route
    switch:
      - when: ${input.n > 5}
        steps:
          - id: big
            http: {service: api, method: POST, path: /big}
            on_error:
              - when: '${get(error, "status", 0) == 409}'
                steps:
                  - id: merge
                    http: {service: api, method: PUT, path: /big}
                output: ${steps.merge.output}
      - else:
          - {id: small, set: {id: s}}
  - id: checks
    parallel:
      credit:
        - {id: score, http: {service: api, path: /score}, compensate: {http: {service: api, method: DELETE, path: /score}}}
      address:
        - {id: post, http: {service: api, path: /post}}
output: {routed: "${steps.route.output.id}", score: "${steps.checks.output.credit.score}"}
"""

PEOPLE = """\
steps:
  - id: approve
    approval:
      message: Do it?
      approvers: [alice, bob]
      form: {required: [limit], properties: {limit: {type: integer}, currency: {type: string, default: EUR}}}
      timeout: 3d
      on_reject: continue
  - id: paid
    signal: {name: paid, schema: {required: [amount], properties: {amount: {type: number}}}, timeout: 1d, on_timeout: continue}
  - {id: rest, wait: 2h}
output:
  by: ${steps.approve.output.by}
  decision: ${steps.approve.output.decision}
  limit: ${steps.approve.output.?form.?limit}
  currency: ${steps.approve.output.?form.?currency}
  paid: ${steps.paid.?output.?amount}
"""

CHILDREN = """\
steps:
  - id: made
    workflow: {name: make_device, input: {n: "${input.n}"}}
  - id: told
    workflow: {name: tell, input: {device: "${steps.made.output.id}"}, detach: true}
  - id: last
    http: {service: api, method: POST, path: /last}
output: ${steps.made.output.id}
"""
