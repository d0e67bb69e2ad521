"""Expressions that are refused where they stand, each with every line that its author is shown."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

EXPRESSIONS = {
    "input is asked for what it has": (
        """
        input:
          properties:
            email: {type: string}
            plan: {type: string}
            note: {type: object, properties: {text: {type: string}}, additionalProperties: false}
        steps:
          - set:
              a: ${input.emial}
              b: mail ${input.email} to ${ input["plam"] }
              c: ${input.note.txet}
              d: ${input.?note.?txet}
        """,
        [
            '10:18 expr: unknown name "input.emial". Input has email, plan, note',
            '11:43 expr: unknown name "input.plam". Input has email, plan, note',
            '12:23 expr: unknown name "input.note.txet". Input.note has text',
            '13:25 expr: unknown name "input.note.txet". Input.note has text',
        ],
    ),
    "steps that do not exist or are not done": (
        """
        steps:
          - id: account
            set: {a: "${steps.account.output.a}"}
          - set:
              b: ${steps.acount.output.a}
              c: ${steps.charge.output.a}
              d: ${steps.nothing_like_it.output}
              e: ${steps.account.ouput}
              f: ${steps}
          - id: charge
            set: {a: 1}
        """,
        [
            '5:23 expr: step "account" is not done here; it is this step',
            '7:18 expr: unknown step "acount". Did you mean "account"?',
            '8:18 expr: step "charge" is not done here; it stands at line 12, after this one',
            '9:18 expr: unknown step "nothing_like_it"',
            '10:26 expr: unknown name "steps.account.ouput". A step has status, output and error. Did you mean "output"?',
            "11:12 expr: name one step: steps.<id>.output",
        ],
    ),
    "a step that may have no output is read as optional": (
        """
        steps:
          - id: approve
            when: ${run.name == "a"}
            set: {by: x}
          - id: mail
            http: {url: "https://x.test/"}
            on_error: continue
        output:
          a: ${steps.approve.output.by}
          b: ${steps.mail.output[0]["x y"]}
          c: ${steps.mail.error.code}
          d: ${steps.mail.status} ${steps.approve.?output.?by.orValue("nobody")}
        """,
        [
            '11:14 expr: step "approve" may be skipped (when, line 5): write steps.approve.?output.?by',
            '12:14 expr: step "mail" may fail (on_error, line 9): write steps.mail.?output[?0][?"x y"]',
            '13:14 expr: step "mail" has an error only if it failed: write steps.mail.?error.?code',
        ],
    ),
    "conditions are expressions that give true or false": (
        """
        input: {properties: {plan: {type: string}}}
        steps:
          - when: input.plan == "x"
            set: {a: 1}
          - when: true
            set: {a: 1}
          - when: ${input.plan}${input.plan}
            set: {a: 1}
          - when: ${"a"}
            set: {a: 1}
          - when: ${input.plan == "a" and true}
            set: {a: 1}
        """,
        [
            (
                '5:11 expr: when must be an expression that gives true or false, found the text "input.plan == "x"". '
                'Write ${input.plan == "x"}'
            ),
            "7:11 expr: when must be an expression that gives true or false, found true. Write ${true}",
            (
                "9:11 expr: when must be an expression that gives true or false, found the text "
                '"${input.plan}${input.plan}". Write one ${…} around all of it'
            ),
            '11:13 expr: found string, expected bool, in "when"',
            '13:31 expr: syntax: "and" is not CEL; use &&',
        ],
    ),
    "what CEL refuses, in the author's words": (
        """
        steps:
          - set:
              a: '${true ? 1 : null}'
              b: ${[1].transformMap(i, v, v)}
              c: ${run.id # + "x"}
              d: ${runn.id}
        """,
        [
            "5:18 expr: the two sides of ? : differ (int, null). Wrap one in dyn(…)",
            "6:28 expr: transformMap is not available; use [[k, v]].to_map()",
            '7:10 expr: "${" is not closed (if the text has " #", YAML took the rest as a comment: quote it)',
            '8:12 expr: unknown name "runn". Did you mean "run"?',
        ],
    ),
    "what is there only in some places": (
        """
        steps:
          - id: b
            http: {url: "https://x.test/${result.x}", idempotency_key: "${idempotency_key}"}
            output: ${result.body}
          - set: {a: "${error.message}", c: "${index}", d: "${state}", e: "${callback_url}"}
        output: ${result}
        """,
        [
            '5:35 expr: unknown name "result": it is there only in a step\'s output, success and poll',
            '5:67 expr: unknown name "idempotency_key": it is there only in compensate',
            '7:17 expr: unknown name "error": it is there only in on_error and compensate',
            '7:40 expr: unknown name "index": it is there only in for_each and repeat',
            '7:55 expr: unknown name "state": it is there only in a repeat that has state',
            '7:70 expr: unknown name "callback_url": it is there only in the request of a step with callback',
            '8:11 expr: unknown name "result": it is there only in a step\'s output, success and poll',
        ],
    ),
    "the result of a request has three parts": (
        """
        steps:
          - http: {url: "https://x.test/", success: '${result.code == 200 && result.?body.ok.orValue(true)}'}
            output: ${result.header["x"]}
          - set: {a: 1}
            output: ${result.a}
        """,
        [
            '4:55 expr: unknown name "result.code". Result has status, headers, body',
            '5:22 expr: unknown name "result.header". Result has status, headers, body',
        ],
    ),
    "what must have a value": (
        """
        input: {properties: {x: {type: string}}}
        steps:
          - id: a
            http: {url: "https://x.test/"}
            output: ${result.?body}
          - wait: {until: "${1}"}
          - return: ${input.?x}
        output: ${input.?x}
        """,
        [
            '7:15 expr: "output" needs a value and this may have none: add .orValue(…)',
            '8:22 expr: found int, expected timestamp, in "until"',
            '9:15 expr: "return" needs a value and this may have none: add .orValue(…)',
            '10:11 expr: "output" needs a value and this may have none: add .orValue(…)',
        ],
    ),
    "secrets stay where nothing is recorded": (
        """
        secrets: [DI_KEY]
        steps:
          - id: a
            set: {a: "${secrets.DI_KEY}"}
            output: ${secrets.DI_KEY}
          - when: ${secrets.DI_KEY == ""}
            http:
              url: https://x.test/${secrets.DI_KEY}
              headers: {A: "${secrets.DI_KY}"}
              success: ${result.body == secrets.DI_KEY}
              idempotency_key: ${secrets.DI_KEY}
              query: {all: "${secrets}"}
          - return: ${secrets.DI_KEY}
        output: {a: "${secrets.DI_KEY}"}
        """,
        [
            '6:17 secret: secrets.DI_KEY may not stand in "set": it would be recorded',
            '7:15 secret: secrets.DI_KEY may not stand in "output": it would be recorded',
            '8:13 secret: secrets.DI_KEY may not stand in "when": it would be recorded',
            '11:31 secret: "DI_KY" is not declared under secrets (line 3)',
            '12:33 secret: secrets.DI_KEY may not stand in "success": it would be recorded',
            '13:26 secret: secrets.DI_KEY may not stand in "idempotency_key": it would be recorded',
            "14:23 secret: name one secret: secrets.NAME",
            '15:15 secret: secrets.DI_KEY may not stand in "return": it would be recorded',
            '16:16 secret: secrets.DI_KEY may not stand in "output": it would be recorded',
        ],
    ),
    "a compensation sees what its step saw, its output, and the error": (
        """
        steps:
          - id: charge
            http: {url: "https://x.test", method: POST}
            compensate:
              in_doubt: true
              http: {url: "https://x.test/${steps.charge.output.id}/${steps.ship.output.id}", method: POST}
          - id: ship
            http: {url: "https://x.test", method: POST}
            compensate:
              - id: one
                http: {url: "https://x.test/${steps.ship.output.id}/${error.code}/${steps.two.output}", method: POST}
              - id: two
                fail: "no"
                compensate: {wait: 1s}
          - set: {a: "${steps.one.output}"}
        """,
        [
            '8:43 expr: step "charge" may have no output here (in_doubt, line 7): write steps.charge.?output.?id',
            '8:69 expr: step "ship" is not done here; it stands at line 9, after this one',
            '13:83 expr: step "two" is not done here; it stands at line 14, after this one',
            '15:9 compensate: "fail" may not stand in compensate: the run is ending already',
            "16:9 compensate: what undoes a step is not undone itself",
            '17:23 expr: step "one" is inside the compensate of "ship"; from outside it cannot be read',
        ],
    ),
    "an error is read as what it may lack": (
        """
        steps:
          - id: one
            http: {url: "https://x.test", method: POST}
            on_error: continue
            compensate:
              http: {url: "https://x.test/${error.mesage}/${error.status}/${error.?status}", method: POST}
        output:
          a: ${steps.one.?error.?body}
          b: ${steps.one.?error.?stauts}
        """,
        [
            (
                '8:43 expr: unknown name "error.mesage". Error has code, message, in_doubt, status, body, attempts, '
                "step, path, details, request"
            ),
            "8:59 expr: not every error has status: write error.?status",
            (
                '11:26 expr: unknown name "steps.one.error.stauts". Steps.one.error has code, message, in_doubt, '
                "status, body, attempts, step, path, details, request"
            ),
        ],
    ),
    "services are the same for every step": (
        """
        input: {properties: {host: {type: string}}}
        services:
          crm:
            base_url: https://${input.host}.test
            headers: {A: "${steps.a.output}"}
        steps:
          - id: a
            http: {service: crm, path: /x}
        """,
        [
            "6:25 http: the host of a URL may not come from input; name a service or a variable",
            "7:21 expr: steps may not be named in services, which many steps share",
        ],
    ),
}


@pytest.mark.parametrize("case", list(EXPRESSIONS))
def test_every_problem_of_an_expression_is_reported_at_its_place(case: str) -> None:
    body, expected = EXPRESSIONS[case]
    assert refusals(body) == expected
