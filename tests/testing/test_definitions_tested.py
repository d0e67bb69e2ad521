"""The definitions that come with the product pass the tests that lie beside them, and every one has some."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.loader import load_paths
from mcp_workflows.testing import Case, cases
from tests.docs.place import ROOT

FOLDERS = (ROOT / "definitions", ROOT / "examples")
CASES = cases(*FOLDERS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_definition_does_what_its_test_says(case: Case):
    case.check()


def test_every_definition_has_tests():
    tested = {case.suite.outline.definition.name for case in CASES}
    assert set(load_paths(FOLDERS).definitions) - tested == set()
