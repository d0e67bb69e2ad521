"""Workflows that start workflows: what is checked where all files are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.definition.loader import Loaded, load_paths

HEAD = "name: {}\ndescription: Does something that an agent may want.\n"


class Folder:
    """A folder of definitions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loaded = Loaded({}, (), ())

    def write(self, name: str, body: str) -> None:
        (self.path / f"{name}.yaml").write_text(HEAD.format(name) + body, encoding="utf-8")

    def starting(self, name: str, *children: str, more: str = "") -> None:
        """``name`` starts ``children`` one after the other."""
        steps = "".join(f"  - workflow: {{name: {child}{more}}}\n" for child in children)
        self.write(name, f"steps:\n{steps or '  - set: {done: true}'}\n")

    def problems(self) -> list[str]:
        """Those of all files, without the folder's name. What was loaded before counts as what is served."""
        self.loaded = load_paths([self.path], self.loaded.definitions)
        return [str(problem).replace(f"{self.path}/", "") for problem in self.loaded.problems]

    @property
    def names(self) -> list[str]:
        return sorted(self.loaded.definitions)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_workflow_may_start_others_that_are_loaded(folder: Folder) -> None:
    folder.starting("a", "b", "c")
    folder.starting("b", "c")
    folder.starting("c")
    assert folder.problems() == []
    assert folder.loaded.definitions["a"].children == ("b", "c")


def test_children_are_found_wherever_they_are_started(folder: Folder) -> None:
    folder.write(
        "a",
        """
steps:
  - for_each:
      items: [1]
      steps:
        - parallel: {x: [{workflow: {name: b}}], y: [{wait: 1s}]}
          on_error: [{else: [{workflow: {name: c}}]}]
  - set: {x: 1}
    compensate: {workflow: {name: d}}
  - set: {x: 1}
    compensate: [{workflow: {name: e}}]
""",
    )
    for child in "bcde":
        folder.starting(child)
    assert folder.problems() == []
    assert folder.loaded.definitions["a"].children == ("b", "c", "d", "e")


def test_a_child_that_is_not_there_is_reported_where_it_is_named(folder: Folder) -> None:
    folder.starting("a", "install_devise")
    folder.starting("b", "quite_another")
    folder.starting("install_device")
    assert folder.problems() == [
        'a.yaml:4:22 workflow: "install_devise" is not loaded. Did you mean "install_device"?',
        'b.yaml:4:22 workflow: "quite_another" is not loaded',
    ]
    assert folder.names == ["install_device"]


def test_whoever_starts_a_workflow_of_a_broken_file_is_told_of_the_file(folder: Folder) -> None:
    folder.starting("a", "b")
    folder.starting("b", "c")
    folder.write("c", "steps: []\n")
    assert folder.problems() == [
        'a.yaml:4:22 workflow: "b" is not loaded: b.yaml has problems',
        'b.yaml:4:22 workflow: "c" is not loaded: c.yaml has problems',
        "c.yaml:3:8 value: must have at least 1, found 0",
    ]
    assert folder.names == []


def test_a_file_that_breaks_later_leaves_those_alone_that_start_its_last_good_version(folder: Folder) -> None:
    folder.starting("a", "b")
    folder.starting("b")
    assert folder.problems() == []
    served = folder.loaded
    folder.write("b", "steps: []\n")
    assert folder.problems() == ["b.yaml:3:8 value: must have at least 1, found 0"]
    assert folder.names == ["a"]
    (folder.path / "b.yaml").unlink()
    folder.loaded = served
    assert folder.problems() == ['a.yaml:4:22 workflow: "b" is not loaded']


def test_a_cycle_is_reported_wherever_it_is_entered(folder: Folder) -> None:
    folder.starting("a", "b")
    folder.starting("b", "a")
    folder.starting("c", "c")
    folder.starting("d", "a")
    assert folder.problems() == [
        "a.yaml:4:22 workflow: child depth: a -> b -> a has no end",
        "b.yaml:4:22 workflow: child depth: b -> a -> b has no end",
        "c.yaml:4:22 workflow: child depth: c -> c has no end",
        'd.yaml:4:22 workflow: "a" is not loaded: a.yaml has problems',
    ]


def test_detach_does_not_make_a_cycle_end(folder: Folder) -> None:
    folder.starting("a", "a", more=", detach: true")
    assert folder.problems() == ["a.yaml:4:22 workflow: child depth: a -> a has no end"]


def test_a_change_that_closes_a_cycle_is_refused_and_the_rest_goes_on(folder: Folder) -> None:
    folder.starting("a", "b")
    folder.starting("b")
    assert folder.problems() == []
    folder.starting("b", "a")
    assert folder.problems() == [
        "a.yaml:4:22 workflow: child depth: a -> b -> a has no end",
        "b.yaml:4:22 workflow: child depth: b -> a -> b has no end",
    ]


def test_sixteen_children_deep_is_the_end(folder: Folder) -> None:
    for number in range(17):
        folder.starting(f"w{number}", *([f"w{number + 1}"] if number < 16 else []))
    assert folder.problems() == []
    folder.starting("w16", "w17")
    folder.starting("w17")
    assert folder.problems() == [
        "w0.yaml:4:22 workflow: child depth: w0 -> w1 -> … is more than 16 deep",
    ]


def test_input_that_a_child_would_refuse_whatever_its_values_is_reported(folder: Folder) -> None:
    folder.write(
        "b", "input: {required: [device, zone], properties: {device: true, zone: {default: x}}}\nsteps: [{set: {}}]\n"
    )
    folder.write(
        "a",
        """
input: {properties: {given: {type: object}}}
steps:
  - workflow: {name: b, input: {devise: 1}}
  - workflow: {name: b}
  - workflow: {name: b, input: "${input.given}"}
  - workflow: {name: b, input: {device: 1}}
""",
    )
    assert folder.problems() == [
        'a.yaml:6:22 workflow: "b" needs the input "device"',
        'a.yaml:6:33 workflow: "b" takes no input "devise". Did you mean "device"?',
        'a.yaml:7:22 workflow: "b" needs the input "device"',
    ]


def test_what_children_do_is_known_of_whoever_starts_them(folder: Folder) -> None:
    folder.starting("a", "b")
    folder.starting("b", "c")
    folder.write("c", "steps:\n  - approval: {message: Go on?}\n  - http: {method: DELETE, url: 'https://x.test'}\n")
    folder.write("d", "mcp: {destructive: false}\nsteps: [{workflow: {name: c}}]\n")
    assert folder.problems() == []
    loaded = folder.loaded.definitions
    assert [(name, loaded[name].asks_person, loaded[name].destructive) for name in "abcd"] == [
        ("a", True, True),
        ("b", True, True),
        ("c", True, True),
        ("d", True, False),
    ]
