"""Files and folders: which are definitions, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.definition.loader import load_file, load_paths
from mcp_workflows.errors import DefinitionInvalid

GOOD = "name: {name}\ndescription: Does something that an agent may want.\nsteps: [{{set: {{a: 1}}}}]\n"


def write(folder: Path, file: str, text: str | bytes) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(DefinitionInvalid) as caught:
        load_file(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_folders_are_read_to_the_bottom_and_tests_and_hidden_files_left_out(tmp_path: Path) -> None:
    for file in ("a.yaml", "deep/er/b.yml", "c.test.yaml", ".hidden/d.yaml", "e.txt"):
        write(tmp_path, file, GOOD.format(name=Path(file).stem[:1]))
    write(tmp_path, "f.json", '{"name": "f", "description": "Does something else.", "steps": [{"set": {"a": 1}}]}')
    loaded = load_paths([tmp_path])
    assert sorted(loaded.definitions) == ["a", "b", "f"]
    assert loaded.problems == ()
    assert loaded.definitions["b"].source == str(tmp_path / "deep/er/b.yml")


def test_a_file_that_is_named_twice_is_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", GOOD.format(name="a"))
    loaded = load_paths([tmp_path, path])
    assert list(loaded.definitions) == ["a"]
    assert loaded.problems == ()


def test_two_files_of_one_name_are_a_problem_of_the_second(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", GOOD.format(name="same"))
    second = write(tmp_path, "b.yaml", "# a comment\n" + GOOD.format(name="same"))
    loaded = load_paths([tmp_path])
    assert loaded.definitions["same"].source == str(first)
    (problem,) = loaded.problems
    assert str(problem) == f'{second}:2:7 name: "same" is already the name of the workflow in {first}'


def test_a_broken_file_does_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", GOOD.format(name="a"))
    write(tmp_path, "b.yaml", "name: b\nsteps: 3\nfoo: 1\n")
    loaded = load_paths([tmp_path])
    assert list(loaded.definitions) == ["a"]
    assert [(problem.line, problem.code) for problem in loaded.problems] == [(2, "value"), (3, "unknown_key")]


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    loaded = load_paths([tmp_path / "none"])
    assert [problem.message for problem in loaded.problems] == ["there is no such file or folder"]


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    loaded = load_paths([tmp_path])
    assert (dict(loaded.definitions), loaded.problems, loaded.warnings) == ({}, (), ())


def test_bytes_that_are_not_utf_8_are_placed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "name: a\ntitle: Ä".encode() + b"\xff\n")
    assert problems(path) == ["2:9 encoding: the byte 0xff is not UTF-8; save the file as UTF-8"]


def test_utf_16_is_refused_with_its_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "name: a".encode("utf-16"))
    assert problems(path) == ["1:1 encoding: the byte 0xff is not UTF-8; save the file as UTF-8"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", b"\xef\xbb\xbf" + GOOD.format(name="a").encode())
    assert load_file(path).name == "a"


def test_a_huge_file_is_not_even_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", b" " * (5 << 20))
    assert problems(path) == ["1:1 file: larger than 1 MiB (5,242,880 bytes)"]


def test_a_folder_or_nothing_in_place_of_a_file_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["1:1 file: cannot be read: Is a directory"]
    assert problems(tmp_path / "x.yaml") == ["1:1 file: cannot be read: No such file or directory"]
