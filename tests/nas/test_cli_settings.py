"""What is typed becomes settings, and nothing typed is lost or moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli.settings import bytes_of, candidate, load, merged, nested, pair
from workers.errors import UserError

KEYS = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(max_codepoint=0xD7FF))  # beyond these JSON escapes in pairs, which YAML reads apart
VALUES = st.one_of(
    st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), TEXT, st.none()
)


@settings(deadline=None)
@given(key=st.lists(KEYS, min_size=1, max_size=3), value=VALUES)
def test_a_value_written_as_json_is_read_as_it_is(key: list[str], value: Any) -> None:
    name, read = pair(f"{'.'.join(key)}={json.dumps(value)}")
    assert name == ".".join(key)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("1e-4", 1e-4),
        ("true", True),
        ("pnas", "pnas"),
        ("", None),
        ("[accuracy, loss]", ["accuracy", "loss"]),
        ("{range: [0.1, 1], log: true}", {"range": [0.1, 1], "log": True}),
        ("a=b", "a=b"),
    ],
)
def test_values_are_yaml(written: str, value: object) -> None:
    assert pair(f"key={written}") == ("key", value)


def leaves(tree: Any, way: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, dict):
        return {way: tree}
    return {place: leaf for key, value in tree.items() for place, leaf in leaves(value, (*way, key)).items()}


TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8)


@settings(deadline=None)
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_every_setting_stands_where_its_key_says(tree: dict[str, Any]) -> None:
    assert nested([f"{'.'.join(way)}={value}" for way, value in leaves(tree).items()]) == tree


@settings(deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=4), st.dictionaries(KEYS, TREES, max_size=4))
def test_what_is_laid_over_wins_and_the_rest_stays(base: dict[str, Any], changes: dict[str, Any]) -> None:
    found, over = leaves(merged(base, changes)), leaves(changes) if changes else {}
    assert over.items() <= found.items()
    for way, value in leaves(base).items() if base else ():
        touched = any(way[: len(other)] == other[: len(way)] for other in over)
        assert touched or found[way] == value


def test_a_plugin_keeps_its_name_and_a_journal_its_place() -> None:
    base = {"task": "image_classification", "journal": "here", "pool": {"name": "local", "slots": 2}}
    assert merged(base, nested(["task.epochs=3", "journal.durability=full", "pool.slots=4"])) == {
        "task": {"name": "image_classification", "epochs": 3},
        "journal": {"place": "here", "durability": "full"},
        "pool": {"name": "local", "slots": 4},
    }


def test_a_job_is_loaded_alike_with_and_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("task: {name: image_classification}\nspace: pnas\nstrategy: pnas\nseed: 3\n")
    assert load(path, ["seed=3"]) == load(path)
    assert load(path, place="elsewhere").place == "elsewhere"
    assert load(path, ["strategy=random"]).baseline == 0.0


@pytest.mark.parametrize(("text", "size"), [("500", 500), ("500 MB", 5 * 10**8), ("2GiB", 2 << 30), ("0.5 kB", 500)])
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "-5", "0", "5 parsecs"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UserError, match="20 GiB"):
        bytes_of(text)


def test_a_candidate_is_a_file_or_its_decisions(tmp_path: Path) -> None:
    path = tmp_path / "candidate.json"
    path.write_text('{"candidate": {"x": 0.5}, "trial": 3}')
    assert candidate([str(path)]) == {"x": 0.5}
    path.write_text('[{"candidate": {"x": 0.25}}]')  # as `nas best --json` prints it
    assert candidate([str(path)]) == {"x": 0.25}
    path.write_text("[{}, {}]")
    with pytest.raises(UserError, match="a list of 2, but one candidate is needed"):
        candidate([str(path)])
    assert candidate(["x=0.5", "optimizer=adam", "deep=true"]) == {"x": 0.5, "optimizer": "adam", "deep": True}
