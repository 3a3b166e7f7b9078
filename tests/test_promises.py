"""SECURITY.md and docs/reliability.md: every test that they name is there, and every promise names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {"SECURITY.md": "What is promised", "docs/reliability.md": ""}
"""By page: the section whose rows all name a test; "" = all do."""
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page: str) -> None:
    """Long names may end in three dots."""
    named = re.findall(r"`(test_\w+)(\.\.\.)?`", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    for name, cut in named:
        assert any(test.startswith(name) for test in TESTS) if cut else name in TESTS, name


@pytest.mark.parametrize(("page", "section"), PAGES.items())
def test_every_promise_names_a_test(page: str, section: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    wanted = text.partition(f"## {section}")[2].partition("\n## ")[0] if section else text
    tables = re.findall(r"^\| (?:statement|promise) \|.*\n\|[-|]+\n((?:\|.*\n)+)", wanted, re.MULTILINE)
    promises = [row for table in tables for row in table.splitlines()]
    assert promises
    assert [row for row in promises if "`test_" not in row and "| the same |" not in row] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_pages_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r"\]\(([^)#:\s]+)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target
