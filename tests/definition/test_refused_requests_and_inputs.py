"""Requests and input schemas that are refused, each with every line that their author is shown."""

from __future__ import annotations

import pytest

from tests.definition.loading import refusals

TARGET = "http: give url, or service and path, not both"

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
            "9:59 http: only one of json, form, text, multipart and blob may be sent; found json and form",
            "10:5 http: http needs url, or service and path",
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
            "13:16 value: expected a list such as [2xx, 404], or an expression, found 200",
            "14:24 http: idempotency_key is a text or false, found true",
            "15:45 http: success is a list of codes, [2xx], or an expression on result",
            "15:59 value: expected a mapping, found 3",
        ],
    ),
}


@pytest.mark.parametrize("case", list(HTTP))
def test_every_problem_of_a_request_is_reported_at_its_place(case: str) -> None:
    body, expected = HTTP[case]
    assert refusals(body) == expected


SO = "(clients would leave the tool out)"
A_TYPE = "x-mcp-header needs type string, integer or boolean"
ON_AN_ARGUMENT = (
    "x-mcp-header stands on an argument: on a property that properties alone lead to, not on a part of a list or a choice "
    f"{SO}"
)
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
    "names of headers for which clients leave the tool out": (
        """
        input:
          x-mcp-header: Whole
          $defs: {shared: {type: string, x-mcp-header: Shared}}
          properties:
            region: {type: string, x-mcp-header: Region}
            zone: {type: integer, x-mcp-header: REGION}
            amount: {type: number, x-mcp-header: Amount}
            either: {type: [string, integer], x-mcp-header: Either}
            any: {x-mcp-header: Any}
            spaced: {type: string, x-mcp-header: my region}
            empty: {type: string, x-mcp-header: ""}
            number: {type: string, x-mcp-header: 7}
            deep: {type: object, properties: {inner: {type: boolean, x-mcp-header: Inner}}}
            list: {type: array, items: {type: string, x-mcp-header: Item}}
            properties: {type: string, x-mcp-header: Properties, default: a, examples: [{x-mcp-header: data}]}
        steps:
          - set: {a: 1}
        """,
        [
            f"4:3 input: {ON_AN_ARGUMENT}",
            f"5:34 input: {ON_AN_ARGUMENT}",
            (
                '8:41 input: "zone": x-mcp-header "REGION" is that of "region" at line 7, as headers know no case: '
                f"choose another {SO}"
            ),
            f'9:28 input: "amount": {A_TYPE}, found type number {SO}',
            f'10:39 input: "either": {A_TYPE}, found several types {SO}',
            f'11:11 input: "any": {A_TYPE}, found no type {SO}',
            (
                '12:42 input: "spaced": x-mcp-header "my region" is no name of a header: write letters, digits and hyphens, '
                f"such as Region {SO}"
            ),
            (
                '13:41 input: "empty": x-mcp-header "" is no name of a header: write letters, digits and hyphens, '
                f"such as Region {SO}"
            ),
            f'14:42 input: "number": x-mcp-header is the name of a header, a text such as Region {SO}',
            f"16:47 input: {ON_AN_ARGUMENT}",
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
            (
                '6:15 input: this is no JSON Schema: properties.n.type: "strin" is not one of array, boolean, integer, '
                "null, number, object, string"
            ),
            "7:32 input: this pattern is not taken: missing ): (",
            '8:31 input: format "emial" is not known. Did you mean "email"?',
            (
                '9:15 input: $ref "https://x.test/schema" leads nowhere: only what stands in this schema can be referred '
                "to, as #/$defs/name"
            ),
            (
                '10:15 input: $ref "#/$defs/none" leads nowhere: only what stands in this schema can be referred to, '
                "as #/$defs/name"
            ),
            '11:23 input: "minLenght" is no word of JSON Schema. Did you mean "minLength"?',
            '12:33 input: default "3" is not valid: "3" is a string, expected integer',
            (
                "13:23 output_schema: this is no JSON Schema: type: 3 is not one of array, boolean, integer, null, number, "
                "object, string"
            ),
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


@pytest.mark.parametrize("case", list(INPUT))
def test_every_problem_of_an_input_schema_is_reported_at_its_place(case: str) -> None:
    body, expected = INPUT[case]
    assert refusals(body) == expected
