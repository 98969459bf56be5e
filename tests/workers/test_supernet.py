"""Children as parts of one network: the same numbers as the stand-alone networks give, and one set of weights."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD
from parameter_server.store import PushId
from search_spaces.cnn.darts import DartsSpace
from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from search_spaces.space import Space
from search_spaces.supernet import Share
from workers.lineage import network_of
from workers.optimization import optimizer
from workers.recipe import Recipe
from workers.shared_training import direction
from workers.sharing import Sharing
from workers.supernet import Part, Supernet, mean_gradients
from workers.tasks.image_classification import ImageClassification

if TYPE_CHECKING:
    from parameter_server.store import Tensors

SPACES: dict[str, Space] = {
    "nasnet": NasnetSpace(cells=1, filters=4, blocks=3),
    "pnas": PnasSpace(cells=1, filters=4, blocks=3),
    "darts": DartsSpace(cells=4, filters=4, nodes=2),
}
TASK = ImageClassification(dataset="digits")


def supernet_of(space: Space, store: MemoryStore | None = None, **task: Any) -> Supernet:
    return Supernet(
        store or MemoryStore(SGD(1.0)), space, ImageClassification(dataset="digits", **task), Sharing("", seed=3)
    )


def sampled(space: Space, count: int, seed: int = 0) -> list[Candidate]:
    generator = Random(seed)
    return [space.decisions.sample(generator) for _ in range(count)]


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(12, 1, 8, 8, generator=generator), torch.randint(10, (12,), generator=generator)


def joined(share: Share, tensors: Tensors) -> Tensor:
    """A parameter from the supernet's tensors, written apart from the code that is tested."""
    return torch.cat([torch.tensor(np.array(tensors[name])) for name in share.names], dim=1 if share.sizes else 0)


def alone(space: Space, candidate: Candidate, part: Part, tensors: Tensors) -> nn.Module:
    """The stand-alone network of `candidate`, built as every search builds it, with these weights, in training mode."""
    network = network_of(space, TASK, candidate)
    missing = network.load_state_dict({n: joined(s, tensors) for n, s in part.shares.items()}, strict=False)
    assert not missing.unexpected_keys
    assert all("running" in name or "tracked" in name for name in missing.missing_keys)
    return network.train()


@pytest.mark.parametrize("name", SPACES)
def test_a_child_computes_what_the_stand_alone_network_with_its_weights_does(name: str) -> None:
    """In evaluation mode, too, where normalisation still reads the batch."""
    space, seen = SPACES[name], images()[0]
    supernet = supernet_of(space)
    for candidate in sampled(space, 4):
        part = supernet.part(candidate)
        tensors = supernet.fill([part]).tensors
        expected = alone(space, candidate, part, tensors)(seen)
        torch.testing.assert_close(part.network.eval()(seen), expected)
        torch.testing.assert_close(part.network.train()(seen), expected)


@pytest.mark.parametrize("name", SPACES)
def test_a_push_is_the_mean_of_the_gradients_that_autograd_gives_the_plain_networks(name: str) -> None:
    space, count = SPACES[name], 3
    supernet = supernet_of(space)
    candidates = sampled(space, count)
    parts = [supernet.part(candidate) for candidate in candidates]
    before = supernet.fill(parts)
    expected = {key: np.zeros(value.shape) for key, value in before.tensors.items()}
    for seed, (part, candidate) in enumerate(zip(parts, candidates, strict=True)):
        seen, labels = images(seed)
        plain = alone(space, candidate, part, before.tensors)
        for network in (plain, part.network.train()):
            functional.cross_entropy(network(seen), labels).backward()  # type: ignore[no-untyped-call]
        for parameter, weight in plain.named_parameters():
            share, start = part.shares[parameter], 0
            if weight.grad is None:
                continue
            for key in share.names:
                width = before.tensors[key].shape[1] if share.sizes else 0
                piece = weight.grad[:, start : start + width] if share.sizes else weight.grad
                expected[key] += piece.numpy() / count
                start += width
    supernet.store.push(mean_gradients(parts), before.version, PushId("test", 0))
    after = supernet.store.pull(list(before.tensors))
    for key, value in expected.items():
        np.testing.assert_allclose(before.tensors[key] - after.tensors[key], value, rtol=1e-3, atol=1e-5, err_msg=key)


def test_children_that_share_a_piece_step_the_same_tensor() -> None:
    space = SPACES["pnas"]
    supernet = supernet_of(space)
    first, second = (supernet.part(candidate) for candidate in sampled(space, 2))
    before = supernet.fill([first, second])
    seen, labels = images()
    functional.cross_entropy(first.network.train()(seen), labels).backward()  # type: ignore[no-untyped-call]
    supernet.store.push(mean_gradients([first]), before.version, PushId("test", 0))
    common, apart = set(first.names) & set(second.names), set(second.names) - set(first.names)
    supernet.fill([second])
    stem = next(parameter for parameter, share in second.shares.items() if share.names == ("stem.0.weight",))
    assert not np.array_equal(second.network.get_parameter(stem).detach().numpy(), before.tensors["stem.0.weight"])
    now = supernet.store.pull([*common, *apart]).tensors
    assert all(np.array_equal(now[key], before.tensors[key]) for key in apart)
    assert any(not np.array_equal(now[key], before.tensors[key]) for key in common)


@pytest.mark.parametrize("initialiser", ["default", "kaiming", "xavier", "orthogonal"])
def test_first_values_do_not_depend_on_who_creates_a_tensor(initialiser: str) -> None:
    space = SPACES["nasnet"]

    def values(order: Iterable[Candidate]) -> Tensors:
        supernet = supernet_of(space, initialiser=initialiser)
        for candidate in order:
            supernet.fill([supernet.part(candidate)])
        return supernet.store.pull().tensors

    candidates = sampled(space, 6)
    one, other = values(candidates), values(reversed(candidates))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key]) for key in one)
    weights = [value for key, value in one.items() if value.ndim == 4]
    assert len({value.tobytes() for value in weights}) == len(weights), "two tensors begin alike"


def test_first_values_are_drawn_as_those_of_a_stand_alone_network() -> None:
    """Convolutions as torch begins them: uniform, bounded by the root of the fan."""
    space = SPACES["darts"]
    supernet = supernet_of(space)
    part = supernet.part(sampled(space, 1)[0])
    tensors = supernet.fill([part]).tensors
    for key, value in tensors.items():
        if value.ndim == 4:
            bound = 1 / np.sqrt(value[0].size)
            assert 0.5 * bound < np.abs(value).max() <= bound, key


def test_another_seed_begins_elsewhere() -> None:
    space = SPACES["pnas"]
    candidate = sampled(space, 1)[0]
    found = []
    for seed in (1, 2):
        supernet = Supernet(MemoryStore(SGD(1.0)), space, TASK, Sharing("", seed=seed))
        found.append(supernet.fill([supernet.part(candidate)]).tensors["stem.0.weight"])
    assert not np.array_equal(found[0], found[1])


def test_a_store_that_lost_a_tensor_gets_it_again() -> None:
    space = SPACES["pnas"]
    supernet = supernet_of(space)
    part = supernet.part(sampled(space, 1)[0])
    before = supernet.fill([part]).tensors
    supernet.store = MemoryStore(SGD(1.0))
    after = supernet.fill([part]).tensors
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("clipping", [0.0, 0.1])
def test_a_store_s_step_is_the_recipe_s(clipping: float) -> None:
    """Against torch: L1, clipping by the whole norm, weight decay, and the schedule of plain SGD."""
    recipe = Recipe(optimizer="sgd", learning_rate=0.3, weight_decay=0.01, l1=0.02, gradient_clipping=clipping)
    generator = torch.Generator().manual_seed(1)
    weights = {key: nn.Parameter(torch.randn(4, 3, generator=generator)) for key in ("a", "b")}
    gradients = {key: torch.randn(4, 3, generator=generator) for key in weights}
    store = MemoryStore(SGD(recipe.learning_rate))
    store.create({key: value.detach().numpy().copy() for key, value in weights.items()})
    pulled = store.pull()
    given = {key: value.numpy() for key, value in gradients.items()}
    store.push(direction(given, pulled.tensors, recipe, 0.5), pulled.version, PushId("test", 0))
    for key, weight in weights.items():
        weight.grad = gradients[key] + recipe.l1 * weight.detach().sign()
    if clipping:
        nn.utils.clip_grad_norm_(weights.values(), clipping)
    chosen = optimizer(recipe, weights.values())
    chosen.param_groups[0]["lr"] *= 0.5
    chosen.step()
    now = store.pull().tensors
    for key, weight in weights.items():
        np.testing.assert_allclose(now[key], weight.detach().numpy(), rtol=1e-5, atol=1e-6)
