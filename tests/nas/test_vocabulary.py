from __future__ import annotations

from progressive import Chain, setting

from nas.surrogates.vocabulary import Vocabulary
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import Choice, Range, Value
from search_spaces.decisions import Candidate, Decisions


def test_pnas_has_one_embedding_for_inputs_and_one_for_operations() -> None:
    vocabulary = Vocabulary(PnasSpace(blocks=5).decisions)
    assert len(vocabulary) == 1 + 2 * 6 + 2 * 8  # two slots of six states, two of eight operations
    assert max(vocabulary.embeddings) == 6 + 8
    assert max(vocabulary.slots) == 3


def test_a_grown_cell_begins_with_its_parent() -> None:
    space = PnasSpace(blocks=3)
    vocabulary = Vocabulary(space.decisions)
    parent = next(space.smallest())
    for child in space.grow(parent):
        assert vocabulary.sequence(child)[:4] == vocabulary.sequence(parent)
        assert len(vocabulary.sequence(child)) == 8


def test_equal_sequences_mean_equal_candidates() -> None:
    space = PnasSpace(blocks=2, operations=("identity", "max_pool_3x3"))
    vocabulary = Vocabulary(space.decisions)
    every = [child for small in space.smallest() for child in space.grow(small)]
    assert len({vocabulary.sequence(child) for child in every}) == len(set(every))


def test_other_decisions_of_a_candidate_are_not_read() -> None:
    vocabulary = Vocabulary(setting(Chain(2)).decisions)
    chain: dict[str, Value] = {"length": 2, "step1": "b", "step2": "d"}
    assert vocabulary.sequence(Candidate({**chain, "rate": 0.1})) == vocabulary.sequence(Candidate(chain))


def test_ranges_are_read_at_their_grid_points() -> None:
    vocabulary = Vocabulary(Decisions({"width": Range(0.0, 1.0, count=5), "kind": Choice((True, False))}))
    near, far = ({"width": width, "kind": True} for width in (0.26, 0.76))
    assert vocabulary.sequence(near)[0] == vocabulary.ids("width")[1]
    assert vocabulary.sequence(far) == (vocabulary.ids("width")[3], vocabulary.ids("kind")[0])
