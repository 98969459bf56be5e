"""docs/jobs.md and docs/networks.md name every key and every option there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from nas.job import Job
from nas.strategy import Strategy
from nas.watcher import Watcher
from search_spaces.space import Space
from workers.plugins import available, load
from workers.pool import Pool
from workers.task import Task

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "".join((DOCS / name).read_text() for name in ("jobs.md", "networks.md"))
NAMED = set(re.findall(r"`([a-z_0-9]+)`", PAGE)) | set(re.findall(r"^([a-z_]+):", PAGE, re.MULTILINE))
FOLDERS: dict[str, type] = {
    "search_spaces": Space,
    "workers.tasks": Task,
    "nas.strategies": Strategy,
    "workers.pools": Pool,
    "nas.watchers": Watcher,
}
GIVEN = {"setting", "setup", "watched", "call", "calls"}  # what a plugin gets beside the options of a job file


def test_every_key_is_named() -> None:
    assert set(Job.model_fields) - NAMED == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_plugin_and_option_is_named(folder: str) -> None:
    for name in available(folder, FOLDERS[folder]):
        options = set(inspect.signature(load(folder, name, FOLDERS[folder])).parameters) - GIVEN
        assert options - NAMED == set(), name
        assert name in NAMED or name == "function"
