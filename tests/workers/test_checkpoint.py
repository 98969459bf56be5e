from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.checkpoint import load, save, weights
from workers.errors import DamagedError
from workers.task import State

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
SHAPES = st.lists(st.integers(0, 3), max_size=4)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def states(draw: st.DrawFn) -> State:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensors = {}
    for name in draw(st.lists(NAMES.filter(lambda n: n != "__metadata__"), max_size=4, unique=True)):
        value = torch.randn(draw(SHAPES), generator=generator).mul(9).to(draw(DTYPES))
        tensors[name] = value.transpose(0, -1) if value.ndim else value
    return State(draw(st.integers(0, 999)), tensors, draw(st.dictionaries(st.text(max_size=5), JSON, max_size=3)))


@settings(deadline=None, max_examples=60)
@given(states())
def test_what_is_saved_is_loaded(state: State) -> None:
    read = load(save(state))
    assert (read.epoch, read.record, read.tensors.keys()) == (state.epoch, state.record, state.tensors.keys())
    for name, value in state.tensors.items():
        assert read.tensors[name].dtype == value.dtype
        assert torch.equal(read.tensors[name], value)


def test_the_bytes_are_a_safetensors_file() -> None:
    from safetensors.torch import load as unpack

    content = save(State(1, {"model/w": torch.ones(2), "optimizer/0/v": torch.zeros(1)}))
    assert unpack(content)["model/w"].tolist() == [1.0, 1.0]
    assert {name: value.tolist() for name, value in weights(load(content)).items()} == {"w": [1.0, 1.0]}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200))
def test_torn_bytes_are_refused(length: int) -> None:
    content = save(State(1, {"model/w": torch.ones(9)}, {"seed": 3}))
    with pytest.raises(DamagedError, match="no checkpoint"):
        load(content[: min(length, len(content) - 1)])


@pytest.mark.parametrize("content", [b"", b"no file", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null"])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(DamagedError, match="no checkpoint"):
        load(content)


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("workers.checkpoint.VERSION", 2)
        content = save(State(1))
    with pytest.raises(DamagedError, match="version 2, but 1 is read here"):
        load(content)
