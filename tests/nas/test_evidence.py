"""What the pages name as evidence is there: tests, benchmarks, pictures, pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = {
        ROOT / name
        for name in re.findall(r"\b((?:tests|benchmarks|examples)/[\w/]+\.(?:py|yaml|patch|png|svg))\b", text)
    }
    named |= {page.parent / link for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)}
    assert [path.as_posix() for path in named if not path.exists()] == []


def test_a_star_stands_beside_tests_that_are_slow() -> None:
    for name, star in re.findall(r"`(tests/[\w/]+\.py)`(\*?)", (ROOT / "docs" / "evidence.md").read_text()):
        text = (ROOT / name).read_text()
        if star:
            assert "mark.slow" in text, name
        else:
            assert "pytestmark = pytest.mark.slow" not in text, name
