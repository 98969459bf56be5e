"""The three ways of the dates have the same limits, and what is said of them is what they found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dates import WAYS, Setting, measure

from search_spaces.rnn.seq2seq import Seq2SeqSpace


def test_the_classic_network_is_one_of_the_space() -> None:
    setting = Setting()
    sizes: dict[str, Any] = {"layers": [1, 2], "hidden": list(setting.hidden), "embedding": list(setting.embedding)}
    classic, whole = (Seq2SeqSpace(**sizes, **WAYS[way][0]) for way in ("lstm", "surrogate"))
    assert set(classic.decisions["hidden"].points) == set(whole.decisions["hidden"].points)
    for name in classic.decisions:
        assert set(classic.decisions[name].points) <= set(whole.decisions[name].points)
    assert WAYS["random"][0] == WAYS["surrogate"][0]


@pytest.mark.slow
def test_each_way_is_searched_trained_again_and_tested_on_dates(tmp_path: Path) -> None:
    setting = Setting(100, 2, 1, 2, hidden=(8, 16), embedding=(8,))
    found = measure(setting, [0], tmp_path)
    assert list(found) == list(WAYS)
    assert all(0 <= one.test <= 1 and one.parameters <= setting.parameters for runs in found.values() for one in runs)
    assert measure(setting, [0], tmp_path) == found  # from the journal
