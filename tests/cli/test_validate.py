"""``validate`` and ``schema``."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from tests.cli.place import TRIAL, Place

BROKEN = """\
name: broken
description: This one has two mistakes in it.
input:
  properties:
    email: {type: string}
steps:
  - id: a
    http: {url: http://x.example/, tiemout: 3s}
  - when: ${input.emial == "x"}
    wait: 1s
"""


def test_every_problem_is_told_with_its_line_and_a_caret(place: Place):
    place.define("broken", BROKEN)
    place.define("good", TRIAL)
    told = place.call("validate", "definitions")
    assert told.code == 1
    lines = told.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if "unknown_key" in line)
    assert lines[first].startswith("definitions/broken.yaml:8:36 unknown_key: ")
    assert lines[first + 1] == "  8 │     http: {url: http://x.example/, tiemout: 3s}"
    assert lines[first + 2].index("^") == lines[first + 1].index("tiemout")
    assert any(line.startswith("definitions/broken.yaml:9:") and "input.emial" in line for line in lines)
    assert lines[-1] == "1 workflow valid, 2 problems in 1 file"


def test_a_valid_file_is_told_and_the_exit_code_is_0(place: Place):
    told = place.call("validate", str(place.define("good", TRIAL)))
    assert (told.code, told.stdout.splitlines()[-1]) == (0, "1 workflow valid")


def test_warnings_count_only_with_strict(place: Place):
    file = place.define("short", "name: short\ndescription: short\nsteps: [{set: {a: 1}}]\n")
    lenient, strict = place.call("validate", str(file)), place.call("validate", str(file), "--strict")
    assert (lenient.code, strict.code) == (0, 1)
    assert "warning" in lenient.stdout


def test_json_has_the_same_problems_for_scripts(place: Place):
    place.define("broken", BROKEN)
    told = place.call("validate", "definitions", "--json")
    assert told.code == 1
    assert not told.json["valid"]
    assert {(one["line"], one["code"]) for one in told.json["problems"]} == {(8, "unknown_key"), (9, "expr")}


def test_a_path_that_is_not_there_and_an_empty_folder_are_refused(place: Place):
    (place.folder / "empty").mkdir()
    missing, empty = place.call("validate", "nowhere"), place.call("validate", "empty")
    assert (missing.code, empty.code) == (2, 2)
    assert "does not exist" in missing.stderr
    assert "no definitions (*.yaml, *.yml, *.json) in empty" in empty.stderr


def test_a_wide_character_before_the_mistake_does_not_shift_the_caret(place: Place):
    place.define("wide", 'name: wide\ndescription: 漢字 before the mistake\nsteps: [{set: {漢字: "${nope}"}}]\n')
    told = place.call("validate", "definitions")
    line = next(line for line in told.stdout.splitlines() if "│ steps" in line)
    caret = next(line for line in told.stdout.splitlines() if line.strip().endswith("^"))
    cells = sum(2 if sign in "漢字" else 1 for sign in line[: line.index("nope")])
    assert len(caret[: caret.index("^")]) == cells


def test_the_schema_accepts_a_definition_and_refuses_a_typo(place: Place):
    schema = place.call("schema").json
    Draft202012Validator.check_schema(schema)
    validator: Any = Draft202012Validator(schema)
    good = {"name": "good", "description": "Good.", "steps": [{"set": {"a": 1}}]}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "stpes": []})
    assert not validator.is_valid(json.loads(json.dumps(good).replace("set", "sett")))
