"""Proxies: against sums over paths, finite differences and loops; and an attempt that trains nothing."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.cnn.darts import DartsSpace
from search_spaces.cnn.layers import LayersSpace
from search_spaces.cnn.nasnet import NasnetSpace
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from search_spaces.space import Signature, Space
from workers.objectives import Outcome
from workers.plugins import Spec, available, load
from workers.proxies.naswot import Naswot, kernel
from workers.proxies.synflow import NONE, SynFlow
from workers.proxy import FOLDER, Proxy, score
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

SPACES: dict[str, Space] = {
    "pnas": PnasSpace(blocks=2, cells=1, filters=4),
    "nasnet": NasnetSpace(blocks=2, cells=1, filters=4),
    "darts": DartsSpace(nodes=2, cells=3, filters=4, auxiliary=True, drop_path=0.3),
    "layers": LayersSpace(depths=(3,), dropout=0.5),
}
SIGNATURE = Signature("image_classification", {"image": (3, 24, 24)}, {"logits": (5,)})


def seeded(space: Space, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return space.build(space.decisions.sample(Random(seed)), SIGNATURE)


def sizes(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """The absolute values of its weights."""
    return layer.weight.detach().double().abs()


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def test_synflow_of_a_linear_network_is_the_sum_over_its_paths() -> None:
    """R = 1' |W3| |W2| |W1| 1, and each of the three layers carries all of it."""
    torch.manual_seed(0)
    first, second, third = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)
    paths = float((sizes(third) @ sizes(second) @ sizes(first)).sum())
    assert SynFlow().score(nn.Sequential(first, second, nn.ReLU(), third), [torch.zeros(7, 3)]) == pytest.approx(
        math.log(3 * paths), abs=1e-9
    )


class Branching(nn.Module):
    """Two ways from the input to the output: one weight long, and two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.short = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        through: Tensor = self.second(torch.relu(self.first(x))) + self.short(x)
        return through


def test_each_path_counts_as_often_as_it_has_weights() -> None:
    torch.manual_seed(1)
    model = Branching()
    found = SynFlow().score(model, [torch.zeros(2, 3)])
    weights = {name: value.detach().double().abs().numpy() for name, value in model.named_parameters()}
    total = 0.0
    for start in range(3):
        for end in range(2):
            total += float(weights["short.weight"][end, start])
            for middle in range(4):
                total += 2 * float(weights["first.weight"][middle, start] * weights["second.weight"][end, middle])
    assert found == pytest.approx(math.log(total), abs=1e-9)


def test_synflow_is_what_finite_differences_say() -> None:
    """The sum of w dR/dw is how fast R grows when all weights grow alike; batch norm and biases have no part in it."""
    torch.manual_seed(2)
    first, second, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.Linear(600, 5)
    norm = nn.BatchNorm2d(4)
    norm.weight.data.fill_(5.0)
    norm.bias.data.fill_(3.0)
    norm(first(images()))  # which moves its running statistics
    model = nn.Sequential(first, norm, nn.GELU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.Flatten(), last)

    def flow(growth: float) -> float:
        grown = [sizes(layer) * (1 + growth) for layer in (first, second, last)]
        x = functional.max_pool2d(functional.conv2d(torch.ones(1, 3, 24, 24).double(), grown[0], padding=1), 2)
        return float((functional.conv2d(x, grown[1], groups=2).flatten(1) @ grown[2].T).sum())

    slope = (flow(1e-4) - flow(-1e-4)) / 2e-4
    assert SynFlow().score(model, [images()]) == pytest.approx(math.log(slope), abs=1e-6)


@pytest.mark.parametrize("layers", [3, 150, 300, 700])
def test_no_depth_is_too_deep(layers: int) -> None:
    """16 ** 701 is 1e844; it overflows 64 bits on the way, forward or backward, unless both ways are scaled."""
    model = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(layers)))
    for one in model.parameters():
        nn.init.ones_(one)
    found = SynFlow().score(model, [torch.zeros(1, 16)])
    if layers < 500:
        assert found == pytest.approx(math.log(layers) + (layers + 1) * math.log(16), rel=1e-9)
    else:
        assert found is None, "beyond 1e600 it says nothing rather than something wrong"


def test_where_no_path_leads_through_the_least_is_said() -> None:
    last = nn.Linear(2, 2)
    nn.init.zeros_(last.weight)
    assert SynFlow().score(nn.Sequential(nn.Linear(2, 2), last), [torch.zeros(1, 2)]) == NONE
    assert SynFlow().score(nn.Sequential(nn.ReLU()), [torch.zeros(1, 2)]) is None


def test_naswot_is_what_two_loops_count() -> None:
    torch.manual_seed(3)
    first, second = nn.Linear(6, 9), nn.Linear(9, 7)
    norm, x = nn.BatchNorm1d(9), torch.randn(5, 6)
    norm(first(100 * torch.randn(64, 6) + 30))  # which moves its running statistics
    model = nn.Sequential(first, norm, nn.ReLU(), nn.Dropout(0.5), second, nn.Tanh())
    inside = first(x).detach()
    inside = (inside - inside.mean(0)) / (inside.var(0, unbiased=False) + 1e-5).sqrt()
    codes = torch.cat([inside > 0, second(torch.relu(inside)).detach() > 0], 1).tolist()
    agreeing = [[sum(a == b for a, b in zip(one, two, strict=True)) for two in codes] for one in codes]
    found = kernel(model, [x])
    assert found is not None
    assert found.tolist() == agreeing
    sign, logarithm = np.linalg.slogdet(np.array(agreeing, dtype=np.float64))
    assert sign == 1
    assert Naswot().score(model, [x]) == pytest.approx(logarithm, abs=1e-9)


def test_inputs_that_look_alike_are_worth_less_and_no_infinity() -> None:
    model = seeded(SPACES["layers"])
    distinct, alike = images(), images()[:1].expand(8, -1, -1, -1)
    scores = [Naswot().score(model, [x]) for x in (distinct, alike)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert math.isfinite(scores[1])
    assert scores[1] < scores[0]
    assert Naswot().score(nn.Linear(3, 3), [torch.zeros(2, 3)]) is None


@pytest.mark.parametrize("name", sorted(available(FOLDER, Proxy)))
@pytest.mark.parametrize("space", SPACES)
def test_a_proxy_leaves_no_trace_and_draws_nothing(name: str, space: str) -> None:
    model, proxy = seeded(SPACES[space]), load(FOLDER, name, Proxy)()
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    flags = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    found = [proxy.score(model, [images()]) for _ in range(2)]
    assert found[0] is not None
    assert found[0] == found[1]
    assert math.isfinite(found[0])
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [(module.training, len(module._forward_hooks)) for module in model.modules()] == flags
    assert all(one.grad is None and one.requires_grad for one in model.parameters())
    assert proxy.score(seeded(SPACES[space], seed=1), [images()]) != found[0]


class Words(nn.Module):
    """Takes no real numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.classifier = nn.Embedding(10, 4), nn.Sequential(nn.Linear(4, 2), nn.ReLU())

    def forward(self, ids: Tensor) -> Tensor:
        answer: Tensor = self.classifier(self.embedding(ids).mean(1))
        return answer


def test_what_a_network_does_not_allow_is_left_out() -> None:
    ids = torch.randint(0, 10, (6, 3), generator=torch.Generator().manual_seed(0))
    assert set(score(Words(), [ids])) == {"naswot"}
    assert set(score(nn.Linear(3, 3), [torch.zeros(2, 3)])) == {"synflow"}


SETUP = Setup(
    search="try",
    task=Spec("image_classification", {"dataset": "digits", "epochs": 3, "device": "cpu"}),
    space=Spec("pnas", {"blocks": 2, "cells": 1, "filters": 4}),
    epochs=3,
    objectives=("accuracy",),
)
CELL = Candidate(
    {
        "blocks": 1,
        "block1_input1": 0,
        "block1_operation1": "separable_3x3",
        "block1_input2": 1,
        "block1_operation2": "max_pool_3x3",
    }
)


def look(setup: Setup = SETUP, seed: int = 0, trial: int = 0) -> Result:
    attempt = Attempt(Trial(trial, CELL, epochs=0, horizon=3, seed=seed))
    return Workshop(setup).run(attempt, lambda progress: None)


def test_a_trial_of_no_epochs_is_scored_untrained(tmp_path: Path) -> None:
    setup = replace(SETUP, artifacts=str(tmp_path))
    found = look(setup)
    assert found.outcome is Outcome.COMPLETED, found.error
    assert set(found.metrics) == {"parameters", "multiply_adds", "synflow", "naswot"}
    assert found.epochs == 0
    assert found.checkpoint is None
    assert look(setup, trial=1).metrics == found.metrics, "equal seeds, equal scores"
    assert look(setup, seed=1).metrics["naswot"] != found.metrics["naswot"]
    assert not Trial(0, CELL, epochs=0, horizon=3).full


def test_a_look_keeps_to_the_constraints() -> None:
    assert look(replace(SETUP, ceilings={"parameters": 10.0})).outcome is Outcome.INFEASIBLE
    assert look(replace(SETUP, ceilings={"naswot": 1.0})).outcome is Outcome.INFEASIBLE


def test_a_task_without_a_minibatch_is_seen_through_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look().metrics
    monkeypatch.setattr("workers.tasks.image_classification.ImageClassification.minibatch", lambda *_: None)
    noise = look().metrics
    assert noise["synflow"] == seen["synflow"], "which looks at no data"
    assert noise["naswot"] != seen["naswot"]


def test_what_continues_a_parent_is_evaluated() -> None:
    parent = Attempt(Trial(0, CELL, epochs=1, horizon=3))
    result = Workshop(SETUP).run(Attempt(Trial(1, CELL, epochs=0, horizon=3, parent=0), 1, parent), lambda _: None)
    assert "accuracy" in result.metrics
    assert "synflow" not in result.metrics
