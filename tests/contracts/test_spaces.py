"""What every space promises: one test per promise, over all spaces in the folder, with their default options."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random

import pytest
import torch
from signatures import fitting

from search_spaces.decisions import Candidate
from search_spaces.inputs import blank, noise
from search_spaces.space import Signature, Space, UnfitError
from workers.plugins import available, load


@dataclass(frozen=True)
class Subject:
    """A space, and candidates of it."""

    space: Space
    candidates: tuple[Candidate, ...]

    @property
    def signatures(self) -> list[Signature]:
        """What it builds for."""
        return fitting(self.space)

    @property
    def signature(self) -> Signature:
        """The first of what it builds for."""
        return self.signatures[0]


@pytest.fixture(params=sorted(available("search_spaces", Space)))
def subject(request: pytest.FixtureRequest) -> Subject:
    space: Space = load("search_spaces", request.param, Space)()
    generator = Random(request.param)
    return Subject(space, tuple(space.decisions.sample(generator) for _ in range(20)))


def test_every_published_space_is_found() -> None:
    assert {"darts", "layers", "nasnet", "pnas"} <= set(available("search_spaces", Space))


def test_sampled_candidates_are_valid_and_survive_a_file(subject: Subject) -> None:
    for candidate in subject.candidates:
        assert subject.space.decisions.candidate(json.loads(json.dumps(candidate.json()))) == candidate


def test_a_candidate_survives_the_token_and_the_vector_view(subject: Subject) -> None:
    decisions = subject.space.decisions
    for candidate in subject.candidates:
        assert decisions.from_tokens(decisions.tokens(candidate)) == candidate
        assert decisions.decode(decisions.encode(candidate)) == candidate


def test_networks_give_outputs_of_the_right_shape_and_cost_what_is_described(subject: Subject) -> None:
    assert subject.signatures
    for signature in subject.signatures:
        for candidate in subject.candidates[:5]:
            with torch.device("meta"):
                network = subject.space.build(candidate, signature).eval()
                found = network(*blank(signature, 3))
            first = found[0] if isinstance(found, tuple) else found
            assert first.shape == (3, *next(iter(signature.outputs.values())))
            described = subject.space.describe(candidate, signature)
            assert described.parameters == sum(weight.numel() for weight in network.parameters())
            assert described.multiply_adds > 0
            assert described.activation_bytes > 0


def test_equal_examples_in_a_batch_have_equal_outputs_alone(subject: Subject) -> None:
    """In evaluation no example sees the others."""
    generator = torch.Generator().manual_seed(0)
    for signature in subject.signatures:
        torch.manual_seed(0)
        network = subject.space.build(subject.candidates[0], signature).eval()
        inputs = noise(signature, 3, generator)
        with torch.no_grad():
            together, alone = network(*inputs), network(*(one[1:2] for one in inputs))
        if isinstance(together, tuple):
            together, alone = together[0], alone[0]
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_another_task_is_refused_with_a_remedy(subject: Subject) -> None:
    with pytest.raises(UnfitError, match="choose another"):
        subject.space.check(Signature("weather", {"pressure": (35,)}, {"rain": (35, 10000)}))


def test_blueprints_are_json(subject: Subject) -> None:
    signature = subject.signature
    for candidate in subject.candidates[:5]:
        arguments = subject.space.blueprint(candidate, signature).arguments
        assert json.loads(json.dumps(arguments)) == arguments


def test_decisions_of_a_task_beside_the_space_s_are_not_read(subject: Subject) -> None:
    space, candidate, signature = subject.space, subject.candidates[0], subject.signature
    further = Candidate({"learning_rate": 0.1, **candidate})
    assert space.blueprint(further, signature) == space.blueprint(candidate, signature)
    assert space.canonical(further) == space.canonical(candidate)
    assert space.describe(further, signature) == space.describe(candidate, signature)


def test_equal_keys_mean_equal_costs(subject: Subject) -> None:
    generator, signature = Random(0), subject.signature
    known: dict[object, tuple[int, int]] = {}
    for candidate in subject.candidates:
        for one in (candidate, subject.space.decisions.mutate(candidate, generator)):
            described = subject.space.describe(one, signature)
            costs = (described.parameters, described.multiply_adds)
            assert known.setdefault(subject.space.canonical(one), costs) == costs


def test_graphs_are_drawn_in_order(subject: Subject) -> None:
    graphs = subject.space.describe(subject.candidates[0], subject.signature).graphs
    assert "network" in graphs
    for graph in graphs.values():
        places = {node.name: place for place, node in enumerate(graph.nodes)}
        assert len(places) == len(graph.nodes)
        assert all(places[source] < places[target] for source, target in graph.edges)
        ends = {source for source, _ in graph.edges} | {target for _, target in graph.edges}
        assert {node.name for node in graph.nodes} - ends <= {"previous", "before"}


def test_progressive_spaces_start_small_and_grow_without_repeating(subject: Subject) -> None:
    if not subject.space.progressive:
        with suppress(NotImplementedError):
            assert not list(subject.space.grow(subject.candidates[0]))
        return
    first = list(islice(subject.space.smallest(), 200))
    assert len({subject.space.canonical(one) for one in first}) == len(first)
    grown = list(islice(subject.space.grow(first[-1]), 200))
    assert grown
    for candidate in (*first, *grown):
        assert subject.space.decisions.candidate(candidate) == candidate


def test_a_space_needs_no_torch_until_it_builds(subject: Subject) -> None:
    space = type(subject.space)
    signature = subject.signature
    code = f"""
import sys, random
from search_spaces.space import Signature
from {space.__module__} import {space.__name__}
space = {space.__name__}()
candidate = space.decisions.sample(random.Random(0))
space.canonical(candidate)
space.describe(candidate, {signature})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_import_torch_and_the_standard_library_only(subject: Subject) -> None:
    """So that an export can carry their sources along."""
    network = subject.space.blueprint(subject.candidates[0], subject.signature).network
    waiting, seen = [network.partition(":")[0]], set()
    while waiting:
        module = importlib.import_module(waiting.pop())
        seen.add(module.__name__)
        for value in vars(module).values():
            home = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            top = str(home).partition(".")[0]
            assert top in ("search_spaces", "torch", "") or top in sys.stdlib_module_names, (module, value)
            if top == "search_spaces" and home not in seen:
                waiting.append(str(home))
