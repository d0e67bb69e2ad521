"""Files that are refused, each with every line that its author is shown."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

LATER = "is not available in this version; it has http, set, wait, return and fail"
TARGET = "http: give service + path or url, not both; and only one of json, form, text, multipart, blob"

FORM = {
    "an expression in a flow mapping is quoted": (
        """
        steps:
          - http:
              url: https://x.test/
              json: {email: ${input.email}}
        """,
        ['6:21 yaml: "${" inside { } must be quoted: {email: "${input.email}"}'],
    ),
    "an expression in a flow list is quoted": (
        """
        steps:
          - set: {a: 1, b: [${run.id}, 2]}
        """,
        ['4:21 yaml: "${" inside [ ] must be quoted: ["${run.id}"]'],
    ),
    "an expression with a colon is quoted": (
        """
        steps:
          - set:
              a: ${ {"a": 1} }
        """,
        [
            """5:17 yaml: ": " ends an unquoted text. Quote it ('${ {"a": 1} }'), use a block (|), """
            "or write a mapping with ${…} at the leaves"
        ],
    ),
    "a key stands once": (
        """
        on_failure: pause
        steps:
          - set: {a: 1, a: 2}
        on_failure: fail
        """,
        ['5:17 duplicate_key: "a" is already set at line 5', '6:1 duplicate_key: "on_failure" is already set at line 3'],
    ),
    "unknown keys are told from those that are meant": (
        """
        titel: x
        steps:
          - tiemout: 3s
            path: /x
            http: {url: "https://x.test/", methd: GET, when: x}
          - retry: {tries: 3}
            fail: {message: x, text: y}
        """,
        [
            '3:1 unknown_key: "titel" is not a key of a workflow. Did you mean "title"?',
            '5:5 unknown_key: "tiemout" is not a key of a step. Did you mean "timeout"?',
            '6:5 unknown_key: "path" is not a key of a step. It belongs under http',
            '7:36 unknown_key: "methd" is not a key of http. Did you mean "method"?',
            '7:48 unknown_key: "when" is not a key of http. It belongs to the step',
            '8:13 unknown_key: "tries" is not a key of retry',
            '9:24 unknown_key: "text" is not a key of fail',
        ],
    ),
    "a step has exactly one kind": (
        """
        steps:
          - http: {url: "https://x.test/"}
            set: {a: 1}
          - id: b
          - htpp: {url: "https://x.test/"}
        """,
        [
            '5:5 kind: a step has exactly one kind; found "http" and "set"',
            "6:5 kind: a step has exactly one kind (http, set, wait, return or fail); found none",
            '7:5 unknown_key: "htpp" is not a key of a step. Did you mean "http"?',
        ],
    ),
    "kinds of a later version are named as such": (
        """
        steps:
          - switch: []
          - parallel: {a: []}
          - for_each: {}
          - compensate: {approval: {}}
            wait: 1s
        """,
        [
            f'4:5 kind: "switch" {LATER}',
            f'5:5 kind: "parallel" {LATER}',
            f'6:5 kind: "for_each" {LATER}',
            f'7:18 kind: "approval" {LATER}',
        ],
    ),
    "keys of a later version are named as such": (
        """
        services:
          tools: {mcp: https://x.test/mcp}
        steps:
          - http: {url: "https://x.test/", poll: {}, response: blob}
            on_error: [{steps: []}]
          - http: {url: "https://x.test/", method: POST, multipart: {}}
        """,
        [
            '4:11 service: "mcp" services are not available in this version; give base_url',
            '6:36 http: "poll" is not available in this version',
            '6:56 http: "blob" is not available in this version; it has auto, json, text, none',
            "7:15 on_error: arms under on_error are not available in this version; continue is",
            '8:50 http: "multipart" is not available in this version',
        ],
    ),
    "ids are identifiers, not reserved and unique": (
        """
        steps:
          - id: deploy-app
            set: {a: 1}
          - id: loop
            set: {a: 1}
          - id: check
            set: {a: 1}
          - id: check
            set: {a: 1}
          - id: 2nd try
            set: {a: 1}
        """,
        [
            '4:9 id: "deploy-app" is no identifier: an expression would read it as deploy minus app. Use deploy_app',
            '6:9 id: "loop" is a reserved word of CEL (as, for, in, loop, package, var, …)',
            '10:9 id: "check" is already the id of the step at line 8; ids are unique in a file',
            '12:9 id: "2nd try" is no identifier: letters, digits and _ only. Use s_2nd_try',
        ],
    ),
    "what is needed is asked for": (
        """
        services:
          crm: {timeout: 3s}
        steps:
          - fail: {code: x}
          - wait: {}
        """,
        ['4:3 missing: a service needs "base_url"', '6:5 missing: fail needs "message"', '7:5 missing: wait needs "until"'],
    ),
    "types are not guessed": (
        """
        input: 3
        vars: [a]
        secrets: {a: 1}
        mcp: {join: of, expose: tol, destructive: "no"}
        on_failure: compensat
        steps: x
        """,
        [
            "3:8 value: expected a mapping, found 3",
            "4:7 value: expected a mapping, found a list",
            "5:10 value: expected a list, found a mapping",
            '6:13 value: "of" is not off, running or a duration: "of" is no duration; '
            "write 90s, 15m, 2h, 3d, 1h30m or PT90S",
            '6:25 value: "tol" is not one of tool, none. Did you mean "tool"?',
            '6:43 value: expected true or false, found "no"',
            '7:13 value: "compensat" is not one of compensate, pause, fail. Did you mean "compensate"?',
            '8:8 value: expected a list, found "x"',
        ],
    ),
    "types of a step are not guessed": (
        """
        vars: {a-b: 1, URL: "${input.x}"}
        secrets: [1]
        steps:
          - x
          - http: x
          - set: 3
          - at_most_once: "yes"
            retry: {max_attempts: "3", for: [2x, 600], backoff: exponental, delay: -1s}
            title: ${run.id}
            set: {a: 1}
        """,
        [
            '3:8 name: "a-b" is no name for a setting; use capital letters, digits and _, as in CRM_URL',
            "3:21 expr: vars are plain values, no expression can stand here",
            "4:11 name: expected a text, found 1",
            '6:5 value: expected a mapping, found "x"',
            '7:11 value: expected a mapping, found "x"',
            "8:10 value: expected a mapping, found 3",
            '9:19 value: expected true or false, found "yes"',
            '10:27 value: expected a whole number, found "3"',
            '10:38 retry: "2x" is not what can be tried again: connect, timeout, 429, 5xx or an error code',
            "10:42 retry: 600 is not what can be tried again: connect, timeout, 429, 5xx or an error code",
            '10:57 value: "exponental" is not one of fixed, linear, exponential. Did you mean "exponential"?',
            '10:76 duration: "-1s" is no duration; write 90s, 15m, 2h, 3d, 1h30m or PT90S',
            "11:12 expr: this is plain text, no expression can stand here",
        ],
    ),
    "an empty key is a slip": (
        """
        title:
        steps:
          - when:
            http:
            retry:
            timeout:
          - set:
        """,
        [
            "3:1 value: expected a text, found nothing",
            "5:5 expr: when must be an expression that gives true or false, found null. Write ${…}",
            "6:5 value: expected a mapping, found nothing",
            "7:5 value: expected a mapping, found nothing",
            "8:5 duration: expected a duration such as 90s, 15m, 2h or 3d",
            "9:5 value: expected a mapping, found nothing",
        ],
    ),
    "durations have units": (
        """
        timeout: 90
        steps:
          - wait: 1x
          - wait: 0s
          - wait: {until: tomorrow}
          - wait: {until: "2026-11-22T10:00:00"}
        """,
        [
            '3:10 duration: "90" needs a unit: 90s, 15m, 2h, 3d',
            '5:11 duration: "1x" is no duration; write 90s, 15m, 2h, 3d, 1h30m or PT90S',
            '6:11 duration: "0s" must be longer than nothing',
            '7:19 wait: "tomorrow" is no instant: write 2026-11-23T02:00:00Z or an expression',
            '8:19 wait: "2026-11-22T10:00:00" is no instant: write 2026-11-23T02:00:00Z or an expression',
        ],
    ),
    "no steps are no workflow": ("steps: []\n", ["3:8 value: must have at least 1, found 0"]),
}

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
            '5:11 expr: when must be an expression that gives true or false, found the text "input.plan == "x"". '
            'Write ${input.plan == "x"}',
            "7:11 expr: when must be an expression that gives true or false, found true. Write ${true}",
            "9:11 expr: when must be an expression that gives true or false, found the text "
            '"${input.plan}${input.plan}". Write one ${…} around all of it',
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
            '5:35 expr: unknown name "result": it is there only in a step\'s output and success',
            '5:67 expr: unknown name "idempotency_key": it is there only in compensate',
            '7:17 expr: unknown name "error": it is there only in compensate',
            '7:40 expr: unknown name "index": it is there only in loops, which this version does not have',
            '7:55 expr: unknown name "state": it is there only in repeat, which this version does not have',
            '7:70 expr: unknown name "callback_url": it is there only in a step with callback, '
            "which this version does not have",
            '8:11 expr: unknown name "result": it is there only in a step\'s output and success',
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
            '7:21 expr: steps may not be named in services, which many steps share',
        ],
    ),
}

HTTP = {
    "a service that is not declared": (
        """
        services:
          crm: {base_url: "https://x.test"}
        steps:
          - http: {service: crn, path: /x}
        """,
        ['6:21 service: "crn" is not declared under services. Did you mean "crm"?'],
    ),
    "one target and one body": (
        """
        services:
          crm: {base_url: "https://x.test"}
        steps:
          - http:
              service: crm
              url: https://x.test
          - http: {method: POST, url: "https://x.test", json: {}, form: {}}
          - http: {path: /x}
          - http: {service: crm, path: x}
        """,
        [
            f"8:7 {TARGET}",
            f"9:59 {TARGET}",
            f"10:5 {TARGET}",
            '11:32 http: path begins with "/", found "x"',
        ],
    ),
    "the host stands in the file": (
        """
        input: {properties: {u: {type: string}}}
        steps:
          - http: {url: "${input.u}/x"}
          - http: {url: "https://${input.u}.x.test/x"}
          - http: {url: "https://x.test/${input.u}?a=${input.u}"}
          - http: {url: "ftp://x.test"}
        """,
        [
            "5:20 http: the host of a URL may not come from input; name a service or a variable",
            "6:28 http: the host of a URL may not come from input; name a service or a variable",
            '8:17 http: a URL begins with http:// or https://, found "ftp://x.test"',
        ],
    ),
    "the parts of a request": (
        """
        steps:
          - http:
              url: https://x.test/
              method: get
              headers: {"a b": c, d: [1]}
              auth: {bearer: x, basic: [a, b]}
              success: [20, 2x]
          - http:
              url: https://x.test/
              auth: {basic: [a]}
              success: 200
              idempotency_key: true
          - http: {url: "https://x.test/", success: 2xx, headers: 3}
          - http: {url: "https://x.test/", success: "${result.status}"}
        """,
        [
            '6:15 http: "get" is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. Did you mean "GET"?',
            '7:17 http: "a b" is no name of a header',
            '7:30 http: the header "d" takes a text',
            "8:13 http: auth takes exactly one of bearer, basic and header",
            "9:17 http: 20 is no status: write 200, 404 or 2xx",
            '9:21 http: "2x" is no status: write 200, 404 or 2xx',
            "12:21 value: must have at least 2, found 1",
            "13:16 value: expected a text, found 200",
            "14:24 http: idempotency_key is a text or false, found true",
            "15:45 http: success is a list of codes, [2xx], or an expression on result",
            "15:59 value: expected a mapping, found 3",
        ],
    ),
}

INPUT = {
    "what model APIs refuse": (
        """
        input:
          oneOf: [{}]
          properties:
            "e mail": {type: string}
            _idempotency_key: {type: string}
            tags: {type: array}
            more: {type: [array, "null"], items: {}}
            deep: {type: object, properties: {inner: {type: array}}}
            plan: {type: string, enum: [free, pro, enterprise], default: gold}
        steps:
          - set: {a: 1}
        """,
        [
            "4:3 input: no oneOf, anyOf, allOf, not or $ref at the top: model APIs refuse the whole tool list",
            '6:5 input: property "e mail" must match [A-Za-z0-9_.-]{1,64}: a model API would refuse the whole tool list',
            '7:5 input: "_idempotency_key" is reserved',
            '8:5 input: array "tags" needs items (refused by OpenAI and Gemini)',
            '9:5 input: "more": type [array, null] is refused by OpenAI and Gemini; leave the property out instead of null',
            '10:39 input: array "inner" needs items (refused by OpenAI and Gemini)',
            '11:66 input: default "gold" is not valid: "gold" is not one of free, pro, enterprise',
        ],
    ),
    "what is no JSON Schema": (
        """
        input:
          email: {type: string}
          properties:
            n: {type: strin}
            p: {type: string, pattern: "("}
            f: {type: string, format: emial}
            r: {$ref: "https://x.test/schema"}
            s: {$ref: "#/$defs/none"}
            m: {type: string, minLenght: 3}
            d: {type: integer, default: "3"}
        output_schema: {type: 3}
        steps:
          - set: {a: 1}
        """,
        [
            '4:3 input: "email" is no word of JSON Schema; the arguments stand under properties',
            '6:15 input: this is no JSON Schema: properties.n.type: "strin" is not one of array, boolean, integer, '
            "null, number, object, string",
            "7:32 input: the pattern is no regular expression: missing ), unterminated subpattern at position 0",
            '8:31 input: format "emial" is not known. Did you mean "email"?',
            '9:15 input: $ref "https://x.test/schema" leads nowhere: only what stands in this schema can be referred '
            "to, as #/$defs/name",
            '10:15 input: $ref "#/$defs/none" leads nowhere: only what stands in this schema can be referred to, '
            "as #/$defs/name",
            '11:23 input: "minLenght" is no word of JSON Schema. Did you mean "minLength"?',
            '12:33 input: default "3" is not valid: "3" is a string, expected integer',
            "13:23 output_schema: this is no JSON Schema: type: 3 is not one of array, boolean, integer, null, number, "
            "object, string",
        ],
    ),
    "the top is an object": (
        """
        input: {type: array, items: {}}
        steps:
          - set: {a: 1}
        """,
        ["3:15 input: the arguments of a tool are an object: leave type out"],
    ),
}

ALL = {**FORM, **EXPRESSIONS, **HTTP, **INPUT}


@pytest.mark.parametrize("case", list(ALL))
def test_every_problem_of_a_file_is_reported_at_its_place(case: str) -> None:
    body, expected = ALL[case]
    assert refusals(body) == expected


NAMES = {
    "Onboard-Customer": 'name: "Onboard-Customer" must match [a-z][a-z0-9_]{0,47} (it becomes a tool name)',
    "get_run": 'name: "get_run" is the name of a built-in tool',
    "12": "name: 12 must match [a-z][a-z0-9_]{0,47} (it becomes a tool name)",
    "a" * 49: f'name: "{"a" * 40}…" must match [a-z][a-z0-9_]{{0,47}} (it becomes a tool name)',
}


@pytest.mark.parametrize("name", list(NAMES))
def test_a_name_that_cannot_be_a_tool_is_refused(name: str) -> None:
    head = f"name: {name}\ndescription: Does something that an agent may want.\n"
    assert refusals("steps: [{set: {a: 1}}]\n", head=head) == [f"1:7 {NAMES[name]}"]


def test_a_file_without_a_name_is_refused_at_its_beginning() -> None:
    assert refusals("steps: [{set: {a: 1}}]\n", head="") == ['1:1 missing: a workflow needs "name"']
