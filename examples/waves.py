"""A space and a task of your own: networks of any width and depth that see through noise how a wave goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.decision import Choice, Range
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Signature, Space
from workers.course import Score, follow
from workers.objectives import Direction, Objective
from workers.recipe import Recipe
from workers.supervised import Supervised
from workers.task import Epoch, State, Task
from workers.trial import Trial


def waves(part: str) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(["train", "validation", "test"].index(part))
    start, noise = torch.rand(512, 1, generator=dice), torch.randn(512, 16, generator=dice)
    return (6.3 * start + 0.4 * torch.arange(16)).sin() + 0.1 * noise, (6.3 * start + 6.4).sin()


class Foreseeing(Supervised[Tensor]):
    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:
        return list(torch.randperm(512, generator=generator).tensor_split(16))

    def loss(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
        past, future = waves("train")
        return (self.model(past[batch]) - future[batch]).square().mean(), len(batch)

    def score(self, split: str) -> Score:
        past, future = waves(split)
        return Score({"error": float((self.model.eval()(past) - future).square().mean())})


@dataclass(frozen=True, kw_only=True)
class Waves(Recipe, Task):
    epochs: int = 5
    signature = Signature("waves", {"past": (16,)}, {"future": (1,)})
    objectives = (Objective("error", Direction.MINIMIZE),)

    def train(self, model: nn.Module, trial: Trial, state: State | None) -> Iterator[Epoch]:  # type: ignore[override]
        return follow(Foreseeing(self.closed(trial.candidate), model, trial, torch.device("cpu"), state), trial, state)


class Curve(nn.Sequential):
    def __init__(self, width: int, depth: int) -> None:
        hidden = (nn.Sequential(nn.Linear(width if n else 16, width), nn.Tanh()) for n in range(depth))
        super().__init__(*hidden, nn.Linear(width, 1))


class Curves(Space):
    decisions = Decisions({"depth": Choice((1, 2, 3)), "width": Range(4, 64, integer=True)})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        return Blueprint("waves:Curve", {name: candidate[name] for name in self.decisions})
