"""Files in which people, functions, tools, jq, children or long requests are refused, each with every line that is shown."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

JQ = "jq: env, $ENV, input, include, import and debug are not available"
APART = "what is sent says only a name, and must not be taken for the other"
WAITING = {
    "a signal has a name": (
        """
        steps:
          - signal: {timeout: 3d}
          - id: go
            signal: {}
          - signal: {name: "go on"}
          - signal: {name: "${input.x}"}
          - set: {}
            compensate: {signal: {}}
          - signal:
        """,
        [
            "4:5 signal: a signal needs a name, or its step an id, so that a message can be addressed to it",
            '7:20 signal: "go on" is no name of a signal: letters, digits, _ . : and -, at most 64',
            "8:20 signal: this is plain text, no expression can stand here",
            "10:18 signal: a signal needs a name, or its step an id, so that a message can be addressed to it",
            "11:5 value: expected a mapping with name, schema, timeout or on_timeout, found nothing",
        ],
    ),
    "what follows a timeout needs one": (
        """
        steps:
          - signal: {name: go, on_timeout: continue}
          - signal: {name: go, on_timeout: reject, timeout: 90}
          - approval: {message: x, on_timeout: reject}
          - approval: {message: x, on_timeout: continue, on_reject: contiune, by: persons, timeout: 3d}
        """,
        [
            "4:24 signal: on_timeout needs timeout: without one it is waited for ever",
            '5:36 signal: "reject" is not one of fail, continue',
            '5:53 duration: "90" needs a unit: 90s, 15m, 2h, 3d',
            "6:28 approval: on_timeout needs timeout: without one it is waited for ever",
            '7:40 approval: "continue" is not one of fail, reject',
            '7:61 approval: "contiune" is not one of fail, continue. Did you mean "continue"?',
            '7:75 approval: "persons" is not one of person, anyone. Did you mean "person"?',
        ],
    ),
    "an answer has the parts that it has": (
        """
        steps:
          - id: a
            approval: {message: x}
          - id: b
            approval: {message: x}
            output: ${result.who}
          - set: {a: "${steps.a.output.decison}", b: "${steps.a.output.?note}", c: "${steps.b.output.anything}"}
        """,
        [
            '8:22 expr: unknown name "result.who". Result has decision, by, at, note, form, via',
            '9:32 expr: unknown name "steps.a.output.decison". Steps.a.output has decision, by, at, note, form, via',
        ],
    ),
    "an approval says what is to be decided, and by whom": (
        """
        secrets: [T]
        steps:
          - approval: {approvers: ada}
          - approval: {message: 3, approvers: []}
          - approval: {message: x, approvers: "${string(run.id)}"}
          - approval: {message: "${secrets.T}", approvers: ["${secrets.T}"], mesage: x}
          - approval: Really?
          - approval: {message: x, approvers: 3}
          - approval: {message: "${input.?x}"}
        """,
        [
            '5:5 missing: approval needs "message"',
            "6:25 value: expected a text, found 3",
            "6:39 value: must have at least 1, found 0",
            '7:42 expr: found string, expected list, in "approvers"',
            '8:28 secret: secrets.T may not stand in "approval": it would be recorded',
            '8:56 secret: secrets.T may not stand in "approval": it would be recorded',
            '8:70 unknown_key: "mesage" is not a key of approval. Did you mean "message"?',
            (
                "9:15 value: expected a mapping with message, form, approvers, by, timeout, on_reject or on_timeout, "
                'found "Really?"'
            ),
            "10:39 value: expected a text, found 3",
            '11:28 expr: "approval" needs a value and this may have none: add .orValue(…)',
            '11:35 expr: unknown name "input.x". Input is empty',
        ],
    ),
    "approvers are no single text": (
        "steps: [{approval: {message: x, approvers: ada}}]\n",
        ['3:44 value: approvers is a list, or one expression that gives one; found "ada"'],
    ),
    "what a message holds is an object": (
        """
        steps:
          - signal: {name: a, schema: {type: string}}
          - signal: {name: b, schema: {email: {type: string}}}
          - signal: {name: c, schema: {properties: {n: {type: strin}, m: {type: integer, default: x, minimun: 3}}}}
          - approval: {message: x, form: {type: array, properties: {r: {$ref: "#/$defs/none"}}}}
          - approval: {message: x, form: x}
          - signal: {name: d, schema: {$ref: "#/$defs/a", $defs: {a: {type: object}}}}
        """,
        [
            "4:38 signal: what a message holds is an object: leave type out",
            '5:32 signal: "email" is no word of JSON Schema; fields stand under properties',
            (
                '6:55 signal: this is no JSON Schema: properties.n.type: "strin" is not one of array, boolean, integer, '
                "null, number, object, string"
            ),
            '6:91 signal: default "x" is not valid: "x" is a string, expected integer',
            '6:94 signal: "minimun" is no word of JSON Schema. Did you mean "minimum"?',
            "7:41 approval: what a message holds is an object: leave type out",
            (
                '7:71 approval: $ref "#/$defs/none" leads nowhere: only what stands in this schema can be referred to, '
                "as #/$defs/name"
            ),
            '8:34 value: expected a mapping, found "x"',
            (
                "9:32 signal: no oneOf, anyOf, allOf, not or $ref at the top: fields stand under properties, and there are no "
                "others"
            ),
        ],
    ),
    "steps that wait for one signal take the same data": (
        """
        steps:
          - signal: {name: parcel, schema: {required: [n], properties: {n: {type: integer, minimum: 1}}}}
          - signal: {name: parcel, schema: {properties: {n: {minimum: 1, type: integer}}, required: [n]}}
          - id: parcel
            signal: {}
          - parallel:
              one:
                - signal: {name: parcel, schema: {required: [n], properties: {n: {type: integer, minimum: true}}}}
              two:
                - signal: {name: other}
            compensate: {signal: {name: other, schema: {}}}
          - signal: {name: other, schema: 3}
        """,
        [
            '7:5 signal: "parcel" has another schema at line 4: every step that takes a signal takes the same data',
            '10:34 signal: "parcel" has another schema at line 4: every step that takes a signal takes the same data',
            "10:99 signal: this is no JSON Schema: properties.n.minimum: true is a boolean, expected number",
            '13:40 signal: "other" has another schema at line 12: every step that takes a signal takes the same data',
            "14:35 value: expected a mapping, found 3",
        ],
    ),
    "a signal is not called as an approval is": (
        """
        steps:
          - id: go
            approval: {message: Really?}
          - signal: {name: go}
          - signal: {name: done}
          - set: {}
            compensate:
              - id: done
                approval: {message: Undo it?}
          - for_each:
              items: "${[1]}"
              steps:
                - id: on
                  approval: {message: This one?}
          - repeat:
              max_iterations: 2
              steps:
                - signal: {name: on}
                - id: go_on
                  signal: {name: gone}
        """,
        [
            f'6:14 signal: "go" is the approval at line 5: {APART}',
            f'11:9 approval: "done" is the signal at line 7: {APART}',
            f'20:20 signal: "on" is the approval at line 16: {APART}',
        ],
    ),
    "waiting is not tried again": (
        """
        steps:
          - wait: 3s
            retry: {max_attempts: 3}
            timeout: 3s
          - id: s
            signal: {}
            retry: {max_attempts: 3}
            timeout: 3s
            at_most_once: true
          - approval: {message: x}
            retry: {max_attempts: 3}
            timeout: 3s
            at_most_once: false
          - workflow: {name: b}
            retry: {max_attempts: 3}
            timeout: 3s
          - set: {}
            at_most_once: true
            compensate: {workflow: {name: b}, retry: {max_attempts: 3}, timeout: 3s}
        """,
        [
            '5:5 retry: "wait" takes no retry: it waits, and makes no attempts',
            '6:5 timeout: "wait" takes no timeout here: it lasts as long as it says',
            '9:5 retry: "signal" takes no retry: it waits, and makes no attempts',
            '10:5 timeout: "signal" takes no timeout here: write signal: {timeout: …}',
            (
                '11:5 at_most_once: at_most_once is for http, python and mcp_tool; "signal" does nothing that could be '
                "done twice"
            ),
            '13:5 retry: "approval" takes no retry: it waits, and makes no attempts',
            '14:5 timeout: "approval" takes no timeout here: write approval: {timeout: …}',
            '17:5 retry: "workflow" takes no retry: the child\'s steps have their own',
            '18:5 timeout: "workflow" takes no timeout here: the child\'s own file has one',
            (
                '20:5 at_most_once: at_most_once is for http, python and mcp_tool; "set" does nothing that could be done '
                "twice"
            ),
            '21:39 retry: "workflow" takes no retry: the child\'s steps have their own',
            '21:65 timeout: "workflow" takes no timeout here: the child\'s own file has one',
        ],
    ),
    "a signal that may not come has no output then": (
        """
        steps:
          - id: go
            signal: {timeout: 3d, on_timeout: continue}
          - id: surely
            signal: {timeout: 3d, on_timeout: fail}
          - id: asked
            approval: {message: x, timeout: 3d, on_timeout: reject, on_reject: continue}
          - set: {a: "${steps.go.output.x}", b: "${steps.surely.output.x}", c: "${steps.asked.output.decision}"}
        """,
        ['10:23 expr: step "go" may not come (on_timeout, line 5): write steps.go.?output.?x'],
    ),
}
CALLS = {
    "python": (
        """
        input: {properties: {x: {type: string}}}
        secrets: [T]
        steps:
          - python: {}
          - python: {call: "a.b", args: [1]}
          - python: {call: "${input.x}", args: 3}
          - python: {call: abc, args: {t: "${secrets.T}"}, timeout: 3s}
          - python: {call: abc, args: "x ${input.x}"}
          - python: {call: abc, args: "${string(run.id)}"}
          - python: {call: abc, args: "${input.x} and"}
          - python: {call: abc, args: "${input.?x}"}
        """,
        [
            '6:5 missing: python needs "call"',
            '7:20 python: "a.b" is no name of a function: it is called without its module',
            "7:33 value: expected a mapping, or an expression that gives one, found a list",
            "8:20 python: this is plain text, no expression can stand here",
            "8:40 value: expected a mapping, or an expression that gives one, found 3",
            '9:38 secret: secrets.T may not stand in "python": it would be recorded',
            '9:52 unknown_key: "timeout" is not a key of python. It belongs to the step',
            '10:31 value: expected a mapping, or an expression that gives one, found "x ${input.x}"',
            '11:34 expr: found string, expected map, in "args"',
            '12:31 value: args is a mapping, or one expression that gives one; found "${input.x} and"',
            '13:34 expr: "python" needs a value and this may have none: add .orValue(…)',
        ],
    ),
    "tools of other servers": (
        """
        secrets: [T]
        services:
          crm: {base_url: "https://x.test"}
          tools: {mcp: "https://x.test/mcp"}
        steps:
          - mcp_tool: {service: crm, tool: x}
          - mcp_tool: {service: toolz, tool: x}
          - mcp_tool: {service: tools}
          - mcp_tool: {service: tools, tool: x, list: true}
          - mcp_tool: {service: tools, list: false}
          - mcp_tool: {tool: x}
          - mcp_tool: {service: tools, tool: "${run.id}", arguments: "${[1]}"}
          - mcp_tool: {service: tools, tool: x, arguments: {t: "${secrets.T}"}}
          - http: {service: tools, path: /x}
        """,
        [
            '8:25 service: "crm" is no MCP server: it has base_url, not mcp',
            '9:25 service: "toolz" is not declared under services. Did you mean "tools"?',
            "10:5 mcp_tool: give tool, or list: true",
            "11:41 mcp_tool: give tool, with its arguments, or list: true, not both",
            "12:38 mcp_tool: list is true or left out, found false",
            '13:5 missing: mcp_tool needs "service"',
            "14:38 expr: this is plain text, no expression can stand here",
            '14:65 expr: found list, expected map, in "arguments"',
            '16:21 service: "tools" is an MCP server: call it by mcp_tool',
        ],
    ),
    "where a server is": (
        """
        input: {properties: {x: {type: string}}}
        services:
          a: {mcp: "https://x.test", base_url: "https://x.test"}
          b: {timeout: 3s}
          c: {mcp: "ftp://x.test"}
          d: {mcp: "npx -y server"}
          e: {mcp: "https://${input.x}/mcp"}
          f: {mcp: "${input.x}"}
          g: {base_url: 3}
        steps:
          - set: {a: 1}
        """,
        [
            "5:7 service: a service has base_url or mcp, not both",
            "6:3 service: a service needs base_url, or mcp",
            '7:12 http: a URL begins with http:// or https://, found "ftp://x.test"',
            '8:12 service: "npx -y server" is neither a URL nor the name of a server in the settings',
            "9:23 http: the host of a URL may not come from input; name a service or a variable",
            "10:15 service: the server may not come from input; name it, or a variable",
            "11:17 value: expected a text, found 3",
        ],
    ),
    "jq": (
        """
        secrets: [T]
        steps:
          - jq: {filter: ".a | $ENV.PATH", input: 1}
          - jq: {filter: "[.[] | debug] | input", input: 1}
          - jq: {filter: 'include "x"; .', input: 1}
          - jq: {filter: ".a | halt", input: 1}
          - jq: {filter: "[.a", input: 1}
          - jq: {filter: '"a', input: 1}
          - jq: {filter: ".a)", input: 1}
          - jq: {filter: "", input: 1}
          - jq: {filter: ".a == ${input.x}", input: 1}
          - jq: {filter: .}
          - jq: {filter: ., input: "${secrets.T}"}
          - jq: {filter: ., input: null}
            timeout: 2m
          - jq:
              filter: |
                .a
                | env
              input: 1
        """,
        [
            f"5:24 {JQ}",
            f"6:26 {JQ}",
            f"6:35 {JQ}",
            f"7:19 {JQ}",
            '8:24 jq: "halt" is not available',
            '9:19 jq: "[" is not closed',
            "10:19 jq: a text is not closed",
            '11:21 jq: ")" closes nothing',
            "12:18 jq: the filter is empty; . gives the input as it is",
            "13:18 jq: the filter is plain text: give values in input, and read them in the filter",
            '14:5 missing: jq needs "input"',
            '15:31 secret: secrets.T may not stand in "jq": it would be recorded',
            "17:5 timeout: a jq program gets at most 60s; what takes longer is work for python",
            f"21:11 {JQ}",
        ],
    ),
    "children": (
        """
        secrets: [T]
        steps:
          - workflow: {}
          - workflow: {name: Other, input: [1], detach: "yes"}
          - workflow: {name: "${run.id}", input: {t: "${secrets.T}"}}
          - workflow: {name: other, input: "${1}"}
        """,
        [
            '5:5 missing: workflow needs "name"',
            '6:22 workflow: "Other" is no name of a workflow',
            "6:36 value: expected a mapping, or an expression that gives one, found a list",
            '6:49 value: expected true or false, found "yes"',
            "7:22 workflow: this is plain text, no expression can stand here",
            '8:39 expr: found int, expected map, in "input"',
        ],
    ),
    "children whose input holds secrets": (
        'secrets: [T]\nsteps: [{workflow: {name: b, input: {t: "${secrets.T}"}}}]\n',
        ['4:44 secret: secrets.T may not stand in "workflow": it would be recorded'],
    ),
}
LONG = {
    "poll": (
        """
        input: {properties: {x: {type: string}}}
        services:
          crm: {base_url: "https://x.test"}
        steps:
          - http: {url: "https://x.test", poll: {}}
          - http: {url: "https://x.test", poll: {until: "${true}"}}
          - http: {url: "https://x.test", poll: {until: done, path: /x}}
          - http: {service: crm, path: /x, poll: {until: "${result.bdy}", url: "https://${input.x}", path: x}}
          - http: {service: crm, path: /x, poll: {until: "${result.status}", url: "${result.headers.location}"}}
          - http: {service: crm, path: /x, poll: {until: true, path: /x, every: 3, evry: 3, method: get, retry: {}}}
          - http: {service: crm, path: "/x/${result.body}", poll: {until: "${true}", path: /x}}
        """,
        [
            '7:35 missing: poll needs "until"',
            "8:35 http: poll asks at one place: give url or path",
            '9:49 expr: until must be an expression that gives true or false, found the text "done". Write ${done}',
            "9:55 http: path stands after a service's base_url, and this step names none: give url",
            '10:60 expr: unknown name "result.bdy". Result has status, headers, body',
            "10:83 http: the host of a URL may not come from input; name a service or a variable",
            "10:94 http: poll asks at one place: give url or path",
            "12:50 expr: until must be an expression that gives true or false, found true. Write ${true}",
            '12:73 duration: "3" needs a unit: 90s, 15m, 2h, 3d',
            '12:76 unknown_key: "evry" is not a key of poll. Did you mean "every"?',
            '12:93 http: "get" is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. Did you mean "GET"?',
            '12:98 unknown_key: "retry" is not a key of poll. It belongs to the step',
            '13:38 expr: unknown name "result": it is there only in a step\'s output, success and poll',
        ],
    ),
    "callback": (
        """
        services:
          crm: {base_url: "https://x.test", headers: {a: "${callback_url}"}}
        steps:
          - http: {url: "https://x.test", callback: false}
          - http: {url: "https://x.test", callback: {timout: 3s}}
          - http: {url: "https://x.test", callback: true}
          - http: {url: "https://x.test", query: {a: "${callback_url}"}}
          - http:
              url: https://x.test
              query: {a: "${callback_url}"}
              callback: {timeout: 1h}
              poll: {url: "https://x.test", until: "${true}"}
            output: ${result.status}
          - when: ${callback_url == ""}
            http: {method: POST, url: "https://x.test", json: {a: "${callback_url}"}, callback: true}
            output: ${result.body.a}
        """,
        [
            '4:53 expr: unknown name "callback_url": it is there only in the request of a step with callback',
            "6:45 http: callback is true or {timeout: 1h}, found false",
            "7:35 http: nothing tells the service where to call: put ${callback_url} into the request",
            '7:46 unknown_key: "timout" is not a key of callback. Did you mean "timeout"?',
            "8:35 http: nothing tells the service where to call: put ${callback_url} into the request",
            '9:49 expr: unknown name "callback_url": it is there only in the request of a step with callback',
            "13:7 http: poll or callback, not both: a step ends in one way",
            '15:22 expr: unknown name "result.status". Result has body, first',
            '16:13 expr: unknown name "callback_url": it is there only in the request of a step with callback',
        ],
    ),
    "files": (
        """
        steps:
          - id: f
            http: {url: "https://x.test", response: blobb}
          - http: {url: "https://x.test", method: PUT, blob: f}
          - http: {url: "https://x.test", method: PUT, blob: "${string(run.id)}"}
          - http: {url: "https://x.test", method: PUT, multipart: [1]}
          - http: {url: "https://x.test", method: PUT, multipart: {a: {file: x}, b: [[1]], c: [x, {blob: x}], d: 1}}
          - http: {url: "https://x.test", method: PUT, multipart: {a: "${run.i}"}, blob: "${steps.g.output}"}
        """,
        [
            '5:45 http: "blobb" is not one of auto, json, text, blob, none. Did you mean "blob"?',
            "6:54 http: blob is what a step with response: blob gave, as ${steps.file.output}",
            "7:54 http: blob is what a step with response: blob gave, as ${steps.file.output}",
            "8:59 value: expected a mapping, found a list",
            '9:63 http: the part "a" needs blob or text, and only one of them',
            (
                '9:64 http: "file" is not a key of a part, which has blob, text, filename and content_type. '
                'Did you mean "filename"?'
            ),
            '9:78 http: the field "b" takes texts and files, not lists of lists',
            '10:66 expr: unknown name "run.i". Run has id, name, now, started_at, version',
            "10:76 http: only one of json, form, text, multipart and blob may be sent; found multipart and blob",
        ],
    ),
    "hosts that come from input by way of a loop": (
        """
        input: {required: [u], properties: {u: {type: array, items: {type: string}}}}
        steps:
          - id: found
            http: {url: "https://x.test/hosts"}
          - for_each:
              items: ${input.u}
              steps:
                - http: {url: "${item}"}
                - http: {url: "${item}", allowed_hosts: [x.test]}
                - for_each: {as: more, items: "${[item]}", steps: [{http: {url: "https://${more}/"}}]}
          - for_each: {items: "${steps.found.output}", steps: [{http: {url: "${item}"}}]}
          - repeat:
              state: {at: "${input.u[0]}"}
              max_iterations: 3
              steps: [{http: {url: "https://${state.at}/"}}]
          - repeat:
              state: {at: x.test}
              max_iterations: 3
              steps: [{http: {url: "https://${state.at}/"}}]
        """,
        [
            "10:26 http: the host of a URL may not come from input; name a service or a variable",
            "12:84 http: the host of a URL may not come from input; name a service or a variable",
            "17:39 http: the host of a URL may not come from input; name a service or a variable",
        ],
    ),
    "hosts": (
        """
        input: {properties: {x: {type: string}}}
        services:
          crm: {base_url: "https://x.test"}
        steps:
          - http: {url: "${input.x}", allowed_hosts: []}
          - http: {url: "${input.x}", allowed_hosts: ["https://x.test", "*.x.test:8443", 3, "${vars.X}"]}
          - http: {service: crm, path: /x, allowed_hosts: [x.test, a/b]}
          - http: {url: "https://${input.x}/a", allowed_hosts: [x.test, "*.x.test", "10.0.0.7:80"]}
        """,
        [
            "7:46 value: must have at least 1, found 0",
            '8:47 http: "https://x.test" is no host: write api.example.com, *.example.com or 10.0.0.7:8443',
            "8:82 http: expected a text, found 3",
            "8:85 http: this is plain text, no expression can stand here",
            '9:60 http: "a/b" is no host: write api.example.com, *.example.com or 10.0.0.7:8443',
        ],
    ),
}


@pytest.mark.parametrize("case", list(WAITING))
def test_every_problem_of_waiting_for_somebody_is_reported_at_its_place(case: str) -> None:
    body, expected = WAITING[case]
    assert refusals(body) == expected


@pytest.mark.parametrize("case", list(CALLS))
def test_every_problem_of_having_others_do_work_is_reported_at_its_place(case: str) -> None:
    body, expected = CALLS[case]
    assert refusals(body) == expected


@pytest.mark.parametrize("case", list(LONG))
def test_every_problem_of_requests_that_take_long_is_reported_at_its_place(case: str) -> None:
    body, expected = LONG[case]
    assert refusals(body) == expected
