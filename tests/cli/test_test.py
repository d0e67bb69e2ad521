"""``test``, and the schema of test files."""

from __future__ import annotations

from tests.cli.place import TRIAL, Place

TESTS = """\
tests:
  - name: opens an account
    input: {email: ada@example.com}
    steps: {account: {output: {id: a1}}, mail: {status: 202}}
    expect: {output: {account: a1}}
  - name: closes it again
    input: {email: ada@example.com}
    steps: {account: {output: {id: a1}}, mail: {status: 400}, account:compensate: {status: 204}}
    expect: {status: failed, undone: [account], calls: [{step: account:compensate, request: {path: /accounts/a2}}]}
"""


def prepared(place: Place, tests: str = TESTS) -> Place:
    place.define("start_trial", TRIAL)
    place.define("start_trial.test", tests)
    return place


def test_every_test_is_told_and_what_differs_with_its_place(place: Place):
    told = prepared(place).call("test", "definitions")
    assert told.code == 1
    assert told.stdout.splitlines() == [
        "✓ start_trial  opens an account",
        "✗ start_trial  closes it again",
        "  definitions/start_trial.test.yaml:9:100 calls[0].request.path",
        '      - "/accounts/a2"',
        '      + "/accounts/a1"',
        "1 passed, 1 failed",
    ]


def test_only_tests_with_a_text_in_their_name_are_run(place: Place):
    told = prepared(place).call("test", "definitions/start_trial.yaml", "-k", "OPENS")
    assert (told.code, told.stdout.splitlines()[-1]) == (0, "1 passed")
    none = place.call("test", "definitions", "-k", "nothing")
    assert (none.code, none.stdout) == (2, "")
    assert 'no tests with "nothing" in their name' in none.stderr


def test_json_says_the_same_for_scripts(place: Place):
    told = prepared(place).call("test", "definitions", "--json")
    assert told.code == 1
    assert not told.json["passed"]
    first, second = told.json["tests"]
    assert (first["name"], first["workflow"], first["line"], first["passed"]) == (
        "opens an account",
        "start_trial",
        2,
        True,
    )
    (difference,) = second["differences"]
    assert (difference["line"], difference["expected"], difference["got"]) == (9, "/accounts/a2", "/accounts/a1")


def test_a_file_that_is_wrong_fails_and_the_others_are_run(place: Place):
    prepared(place, TESTS.partition("  - name: closes")[0])
    place.define("other.test", "definition: start_trial.yaml\ntests: [{name: x, inptu: 1}]\n")
    told = place.call("test", "definitions")
    assert told.code == 1
    lines = told.stdout.splitlines()
    assert lines[0] == "✓ start_trial  opens an account"
    assert lines[1].startswith("definitions/other.test.yaml:2:19 unknown_key: ")
    assert lines[-1] == "1 passed, 1 file cannot be run"


def test_a_folder_without_tests_and_a_path_that_is_not_there_are_refused(place: Place):
    place.define("start_trial", TRIAL)
    empty, missing = place.call("test", "definitions"), place.call("test", "nowhere")
    assert (empty.code, missing.code) == (2, 2)
    assert "no tests (*.test.yaml, *.test.json) in definitions" in empty.stderr


def test_test_files_are_no_definitions(place: Place):
    told = prepared(place).call("validate", "definitions")
    assert (told.code, told.stdout.splitlines()[-1]) == (0, "1 workflow valid")


def test_the_schema_of_test_files_is_printed(place: Place):
    schema = place.call("schema", "--tests").json
    assert set(schema["properties"]) == {"definition", "vars", "steps", "tests"}
    assert place.call("schema").json != schema
