"""What a test can say of a run: answers, failures, loops, people, children, time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing import place
from tests.testing.place import case
from tests.testing.workflows import BLOCKS, CHILDREN, LOOP, PEOPLE, POST


def test_answers_take_the_place_of_services_and_requests_are_rendered_as_for_the_wire(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    input: {n: 7}
    vars: {URL: "http://other.example/v1"}
    steps:
      one: {output: {id: "a b"}}
      two: {output: {id: 2}}
    expect:
      output: {two: 2}
      calls:
        - step: one
          request:
            method: POST
            url: http://other.example/v1/ones/7
            path: /v1/ones/7
            json: {n: 7}
            headers: {authorization: "Bearer [secret TOKEN]", idempotency-key: "r_test:one"}
        - {step: two, request: {json: {of: "a b"}}}
      took: 0s
""").check()  # fmt: skip


def test_a_list_of_answers_is_one_for_each_attempt_and_no_time_is_slept_between_them(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    steps:
      one: [{status: 503}, {error: connect}, {output: {id: 1}}]
      two: [{status: 429, headers: {Retry-After: "3600"}}, {output: {id: 2}}]
    expect:
      output: {two: 2}
      calls:
        - {step: one, attempt: 3}
        - {step: two, attempt: 2}
      steps: {one: {attempts: 3, status: completed}}
      took: 1h3s
""").check()  # fmt: skip


def test_a_status_is_judged_as_the_step_says(tmp_path: Path):
    steps = """\
steps:
  - id: gone
    http: {service: api, method: DELETE, path: /x, success: [2xx, 404]}
  - id: asked
    http: {service: api, path: /y, success: "${result.body.ok}"}
    on_error: continue
"""
    case(tmp_path, steps, """\
tests:
  - name: t
    steps:
      gone: {status: 404}
      asked: {status: 200, body: {ok: false}}
    expect:
      steps:
        gone: {status: completed}
        asked: {status: failed, error: {code: http_200, in_doubt: false, body: {ok: false}}}
""").check()  # fmt: skip


def test_a_failure_undoes_what_was_done_and_says_in_which_order(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    steps:
      one: {output: {id: 1}}
      two: {status: 422, body: {error: no}}
      one:compensate: {status: 204}
    expect:
      status: failed
      error: {code: http_422, step: two, attempts: 1, message: "POST /twos answered 422"}
      compensation: done
      undone: [one]
      not_undone: []
      calls: [one, two, {step: one:compensate, request: {method: DELETE, path: /ones/1}}]
""").check()  # fmt: skip


def test_an_answer_that_takes_longer_than_the_timeout_is_in_doubt(tmp_path: Path):
    steps = "steps: [{id: pay, at_most_once: true, timeout: 20s, http: {service: api, method: POST, path: /pay}}]\n"
    case(tmp_path, steps, """\
tests:
  - name: t
    steps:
      pay: {takes: 21s, output: {}}
    expect:
      error: {code: timeout, in_doubt: true}
      took: 20s
""").check()  # fmt: skip


def test_a_crash_is_an_attempt_whose_end_nobody_saw(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: the call is made again, under the same key
    steps:
      one: [{crash: true, takes: 5s}, {output: {id: 1}}]
      two: {output: {id: 2}}
    expect:
      output: {two: 2}
      calls:
        - {step: one, request: {headers: {idempotency-key: "r_test:one"}}}
        - {step: one, request: {headers: {idempotency-key: "r_test:one"}}}
        - two
      took: 5s
""").check()  # fmt: skip


def test_items_are_named_by_a_pattern_by_their_index_or_by_the_step_s_id(tmp_path: Path):
    case(tmp_path, LOOP, """\
tests:
  - name: t
    steps:
      "resize[*].upload": {output: {from: all}}
      "resize[1].upload": {status: 400}
      "resize[2].upload": {output: {from: "${index}", path: "${request.path}", attempt: "${attempt}"}}
    expect:
      output: [{from: all}, null, {from: 2, path: /images/c, attempt: 1}]
      calls: ["resize[0].upload", "resize[1].upload", upload]
      steps:
        upload: {attempts: 1}
        "resize[1]": {status: failed}
""").check()  # fmt: skip


REPEAT = """\
steps:
  - id: pages
    repeat:
      state: {cursor: null}
      steps:
        - id: page
          http: {service: api, path: /items, query: {cursor: "${state.cursor}"}}
      next: {cursor: '${get(steps.page.output, "next", null)}'}
      collect: ${steps.page.output.items}
      until: ${state.cursor == null}
      every: 1m
      max_iterations: 5
"""


def test_a_list_of_answers_goes_on_from_iteration_to_iteration(tmp_path: Path):
    case(tmp_path, REPEAT, """\
tests:
  - name: t
    steps:
      page: [{output: {items: [1], next: x}}, {output: {items: [2], next: y}}, {output: {items: [3]}}]
    expect:
      output: [[1], [2], [3]]
      calls:
        - {step: "pages[0].page", request: {query: {cursor: null}}}
        - {step: "pages[1].page", request: {query: {cursor: x}}}
        - {step: "pages[2].page", request: {query: {cursor: y}}}
      took: 2m
""").check()  # fmt: skip


def test_branches_and_arms_are_named_by_their_steps(tmp_path: Path):
    case(tmp_path, BLOCKS, """\
tests:
  - name: t
    input: {n: 6}
    steps:
      big: {status: 409}
      merge: {output: {id: m}}
      score: {output: {score: 3}}
      checks.address.post: {takes: 3s, output: {}}
    expect:
      output: {routed: m, score: 3}
      calls: [route.when1.big, "route.when1.big:on_error.when1.merge", post, checks.credit.score]
      steps: {big: {status: completed, error: {code: http_409}}, checks.credit: {status: completed}}
      not_called: [score:compensate]
      took: 3s
""").check()  # fmt: skip


def test_what_was_done_in_a_branch_is_undone(tmp_path: Path):
    case(tmp_path, BLOCKS, """\
tests:
  - name: t
    steps:
      score: {output: {score: 3}}
      post: {takes: 1s, status: 400}
      score:compensate: {status: 200}
    expect:
      status: failed
      undone: [checks.credit.score]
      steps: {small: {status: completed, output: {id: s}}}
""").check()  # fmt: skip


def test_people_and_signals_answer_as_soon_as_the_run_waits_for_them(tmp_path: Path):
    case(tmp_path, PEOPLE, """\
tests:
  - name: t
    signals:
      - {name: paid, data: {amount: 5}}
      - {step: approve, decision: approved, by: alice, form: {limit: 3}, note: fine}
    expect:
      output: {by: alice, decision: approved, limit: 3, currency: EUR, paid: 5}
      took: 2h
""").check()  # fmt: skip


def test_a_signal_may_come_early_and_a_decision_at_its_hour(tmp_path: Path):
    case(tmp_path, PEOPLE, """\
tests:
  - name: t
    signals:
      - {step: approve, decision: rejected, by: bob, at: 1d}
      - {name: paid, data: {amount: 6}, at: 0s}
    expect:
      output: {by: bob, decision: rejected, limit: null, paid: 6}
      took: 1d2h
""").check()  # fmt: skip


def test_the_clock_jumps_over_timeouts(tmp_path: Path):
    case(tmp_path, PEOPLE, """\
tests:
  - name: nobody decides
    expect:
      error: {code: timeout, step: approve}
      took: 3d
""").check()  # fmt: skip


def test_a_run_that_nobody_answers_stays_waiting(tmp_path: Path):
    case(tmp_path, "steps: [{id: go, signal: {name: go}}]\n", """\
tests:
  - name: t
    expect: {status: waiting, waiting_for: [go]}
""").check()  # fmt: skip


def test_a_child_is_answered_for_as_any_step_and_a_detached_one_needs_no_answer(tmp_path: Path):
    case(tmp_path, CHILDREN, """\
tests:
  - name: t
    steps:
      made: {takes: 3h, output: {id: d1}}
      last: {output: null}
    expect:
      output: d1
      calls:
        - {step: made, request: {name: make_device, input: {n: 1}}}
        - {step: told, request: {input: {device: d1}}}
      took: 3h
""").check()  # fmt: skip


def test_a_child_that_fails_is_its_step_s_failure(tmp_path: Path):
    case(tmp_path, CHILDREN, """\
tests:
  - name: t
    steps:
      made: {error: {code: no_stock, message: none left}}
    expect:
      error: {code: child_failed, step: made, in_doubt: false, message: none left, details: {code: no_stock}}
      not_called: [last]
""").check()  # fmt: skip


def test_a_child_is_undone_with_its_parent_unless_the_test_says_that_it_cannot(tmp_path: Path):
    shared = "tests:\n  - name: t\n    steps:\n      made: {output: {id: d1}}\n      last: {status: 400}\n"
    well = "    expect: {status: failed, compensation: done, undone: [made], calls: [made:compensate]}\n"
    case(tmp_path, CHILDREN, shared + well).check()
    ill = "      made:compensate: {error: broken}\n    expect: {status: failed, undone: [], not_undone: [made]}\n"
    case(tmp_path, CHILDREN, shared + ill).check()


def test_a_cancel_reaches_a_child_that_is_under_way(tmp_path: Path):
    case(tmp_path, CHILDREN, """\
tests:
  - name: t
    steps:
      made: {takes: 3h, output: {id: d1}}
    cancel: {at: 1h}
    expect: {status: cancelled, steps: {made: {status: cancelled}}, took: 1h}
""").check()  # fmt: skip


def test_a_poll_and_a_callback_are_answered_with_what_ends_them(tmp_path: Path):
    steps = """\
steps:
  - id: export
    http:
      service: api
      method: POST
      path: /exports
      poll: {path: "/exports/${result.body.id}", every: 5s, until: '${result.body.state == "done"}'}
  - id: signed
    http:
      service: api
      method: POST
      path: /signatures
      json: {notify: "${callback_url}"}
      callback: {timeout: 1d}
output: {rows: "${steps.export.output.rows}", by: "${steps.signed.output.by}"}
"""
    case(tmp_path, steps, """\
tests:
  - name: t
    steps:
      export: {takes: 2h, output: {state: done, rows: 3}}
      signed: {takes: 5h, output: {by: ada}}
    expect:
      output: {rows: 3, by: ada}
      took: 7h
""").check()  # fmt: skip


def test_a_paused_run_is_resumed_step_by_step(tmp_path: Path):
    case(tmp_path, "on_failure: pause\n" + POST, """\
tests:
  - name: t
    steps:
      one: [{status: 422}, {output: {id: 1}}]
      two: {status: 400}
    resume:
      - {request: {json: {n: 8}}}
      - {output: {id: found}}
    expect:
      output: {two: found}
      calls:
        - {step: one, request: {json: {n: 1}}}
        - {step: one, request: {json: {n: 8}, headers: {idempotency-key: "r_test:one:2"}}}
        - two
""").check()  # fmt: skip


def test_a_cancel_without_a_time_comes_when_the_run_stands_still(tmp_path: Path):
    case(tmp_path, "on_failure: pause\n" + POST, """\
tests:
  - name: t
    steps:
      one: {output: {id: 1}}
      two: {status: 400}
      one:compensate: {status: 204}
    cancel: {}
    expect: {status: cancelled, undone: [one]}
""").check()  # fmt: skip


def test_a_cancel_in_flight_waits_for_the_attempt(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    steps:
      one: {takes: 10s, output: {id: 1}}
    cancel: {at: 4s, compensate: false}
    expect: {status: cancelled, undone: [], not_called: [two], took: 10s}
""").check()  # fmt: skip


def test_a_broken_expression_in_a_request_fails_the_step_as_in_a_run(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    steps: {one: {output: {}}}
    expect:
      error: {code: expression, step: two, in_doubt: false}
      not_called: []
""").check()  # fmt: skip


def test_input_that_the_schema_refuses_can_be_expected(tmp_path: Path):
    case(tmp_path, POST, """\
tests:
  - name: t
    input: {n: many}
    expect: {refused: 'n: "many" is a string, expected integer'}
""").check()  # fmt: skip


def test_the_fake_clock_begins_where_the_test_says(tmp_path: Path):
    steps = """\
steps: [{id: at, set: {now: "${run.now}"}}, {wait: {until: "2026-03-01T00:00:00Z"}}]
output: ${steps.at.output}
"""
    case(tmp_path, steps, """\
tests:
  - name: t
    starts_at: "2026-02-27T22:00:00+01:00"
    expect: {output: {now: "2026-02-27T21:00:00Z"}, took: 1d3h}
""").check()  # fmt: skip


def test_all_tests_of_a_file_share_answers_and_anchors(tmp_path: Path):
    case(tmp_path, POST, """\
x-common: &two {output: {id: 2}}
steps:
  one: {output: {id: 1}}
  two: {status: 500}
tests:
  - name: t
    steps: {two: *two}
    expect: {output: {two: 2}}
""").check()  # fmt: skip


def test_a_test_s_own_answer_wins_however_it_names_the_step(tmp_path: Path):
    case(tmp_path, LOOP, """\
steps: {"resize[1].upload": {status: 500}}
tests:
  - name: t
    steps: {upload: {output: "${index}"}}
    expect: {output: [0, 1, 2]}
""").check()  # fmt: skip


def test_an_error_names_its_step_by_id_or_path_and_numbers_are_equal_within_rounding(tmp_path: Path):
    steps = """\
steps:
  - {id: sum, set: {value: "${0.1 + 0.2}"}}
  - {id: each, for_each: {items: [1], steps: [{id: put, http: {service: api, method: PUT, path: /x}}]}}
"""
    case(tmp_path, steps, """\
tests:
  - name: t
    steps: {put: {status: 400}}
    expect:
      error: {step: put}
      steps: {sum: {output: {value: 0.3}}, put: {error: {step: "each[0].put"}}}
""").check()  # fmt: skip


def test_an_address_that_is_refused_in_a_run_is_refused_in_a_test(tmp_path: Path):
    steps = 'steps: [{id: get, http: {url: "http://169.254.169.254/keys"}}]\n'
    case(tmp_path, steps, "tests: [{name: t, expect: {error: {code: blocked_address, step: get}}}]\n").check()


def test_variables_are_set_as_the_environment_sets_them(tmp_path: Path):
    steps = "steps: [{id: v, set: {url: '${vars.URL}', limit: '${vars.LIMIT}'}}]\n"
    tests = "vars: {URL: 5}\ntests: [{name: t, vars: {LIMIT: 20}, expect: {output: {url: '5', limit: 20}}}]\n"
    case(tmp_path, steps, tests).check()


def test_a_run_that_failed_is_resumed_at_its_hour(tmp_path: Path):
    case(tmp_path, "on_failure: fail\n" + POST, """\
tests:
  - name: t
    steps: {one: [{status: 400}, {output: {id: 1}}], two: {output: {id: 2}}}
    resume: {at: 1d}
    expect: {output: {two: 2}, took: 1d}
""").check()  # fmt: skip


OTHER = """\
steps:
  - id: scored
    python: {call: score, args: {n: "${input.n}"}}
    retry: {max_attempts: 2, for: [busy]}
  - id: ticket
    mcp_tool: {service: desk, tool: open, arguments: {score: "${steps.scored.output}"}}
  - id: sorted
    jq: {filter: "map(. + 1) | sort", input: [3, 1, "${steps.scored.output}"]}
output: {ticket: "${steps.ticket.output.id}", sorted: "${steps.sorted.output}"}
"""
OTHER_SERVICES = '  desk: {mcp: "http://127.0.0.1:9/mcp"}\n'


def test_functions_and_tools_are_answered_for_and_filters_run_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(place, "HEAD", place.HEAD.replace("services:\n", f"services:\n{OTHER_SERVICES}"))
    case(tmp_path, OTHER, """\
tests:
  - name: t
    steps:
      scored: [{error: {code: busy, retryable: true}}, {output: 8}]
      ticket: {output: {id: t1}}
    expect:
      output: {ticket: t1, sorted: [2, 4, 9]}
      calls:
        - {step: scored, request: {call: score, args: {n: 1}}}
        - {step: scored, attempt: 2}
        - {step: ticket, request: {service: desk, tool: open, arguments: {score: 8}}}
        - {step: sorted, request: {input: [3, 1, 8]}}
""").check()  # fmt: skip
    case(tmp_path, OTHER, """\
tests:
  - name: t
    steps: {scored: {output: 8}, ticket: {output: {id: t1}}, sorted: {output: [0]}}
    expect: {output: {sorted: [0]}}
""").check()  # fmt: skip
    case(tmp_path, OTHER, """\
tests:
  - name: t
    steps: {scored: {output: text}, ticket: {output: {id: t1}}}
    expect: {error: {code: jq_error, step: sorted}}
""").check()  # fmt: skip


@pytest.mark.anyio
async def test_a_filter_also_runs_where_an_event_loop_is_running(tmp_path: Path):
    steps = "steps: [{id: n, jq: {filter: length, input: [1, 2]}}]\n"
    case(tmp_path, steps, "tests: [{name: t, expect: {output: 2}}]\n").check()
