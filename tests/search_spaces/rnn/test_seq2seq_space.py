"""The space of encoder-decoder networks: what it costs, what it refuses, which candidates are one network."""

from __future__ import annotations

from random import Random

import pytest

from search_spaces.decision import DecisionError
from search_spaces.measuring import measured
from search_spaces.rnn.seq2seq import Seq2SeqSpace
from search_spaces.space import Signature, UnfitError

PAIRS = Signature(
    "sequence_to_sequence", {"source": (8,), "target": (6,)}, {"logits": (6, 40)}, {"source": 40, "target": 40}
)
SMALL = Seq2SeqSpace(layers=[1, 2, 3], hidden=[8, 12], embedding=[6, 10])


def test_parameters_and_arithmetic_are_those_of_the_network() -> None:
    """Linear and recurrent layers are counted on the network, the products of the attention by what they are."""
    generator = Random(0)
    for _ in range(60):
        candidate = SMALL.decisions.sample(generator)
        described = SMALL.describe(candidate, PAIRS)
        counted = measured(SMALL.build(candidate, PAIRS), PAIRS)
        products = {"none": 0, "additive": 1}.get(str(candidate["attention"]), 2)
        assert described.parameters == counted.parameters
        assert described.multiply_adds == counted.multiply_adds + products * 8 * 6 * int(candidate["hidden"])


def test_the_parameters_of_published_sizes_by_hand() -> None:
    """A GRU of 1000 units on 620 features (Bahdanau et al. 2015: n = 1000, m = 620)."""
    space = Seq2SeqSpace(["gru"], [1], [1000], [620], [False], ["additive"], [False], [0.0])
    described = space.describe(space.decisions.sample(Random(0)), PAIRS)
    reads, writes = (3 * (1000 * 620 + 1000 * 1000 + biases * 1000) for biases in (1, 2))
    score, combine = 2 * 1000 * 1000 + 2 * 1000, 2000 * 1000 + 1000
    assert described.parameters == reads + writes + score + combine + 40 * 620 + 40 * 1001


def test_copying_is_only_decided_where_there_is_attention() -> None:
    generator = Random(1)
    for _ in range(50):
        candidate = SMALL.decisions.sample(generator)
        assert ("pointer" in candidate) == (candidate["attention"] != "none")
    assert "pointer" not in Seq2SeqSpace(attention=["none"]).decisions
    assert (
        Seq2SeqSpace(attention=["none"])
        .describe(Seq2SeqSpace(attention=["none"]).decisions.sample(generator), PAIRS)
        .graphs
    )


def test_dropout_changes_the_key_but_not_the_cost() -> None:
    first = SMALL.decisions.sample(Random(2))
    other = SMALL.decisions.candidate({**first, "dropout": 0.3 if first["dropout"] != 0.3 else 0.1})
    assert SMALL.canonical(first) != SMALL.canonical(other)
    assert SMALL.describe(first, PAIRS) == SMALL.describe(other, PAIRS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": ["sru"]}, "unit is 'sru'"),
        ({"unit": []}, "unit is empty"),
        ({"hidden": [16, 8]}, "hidden is .*rising"),
        ({"hidden": [7]}, "hidden has 7, but must be even"),
        ({"layers": [0, 1]}, "layers has 0"),
        ({"dropout": [0.0, 1.0]}, "below 1"),
        ({"attention": "none", "pointer": True}, "chosen by attention"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        Seq2SeqSpace(**options)  # type: ignore[arg-type]


def test_one_vocabulary_is_asked_for() -> None:
    two = Signature(PAIRS.kind, PAIRS.inputs, PAIRS.outputs, {"source": 30, "target": 40})
    with pytest.raises(UnfitError, match="one vocabulary"):
        SMALL.check(two)
