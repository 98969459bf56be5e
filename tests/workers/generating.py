"""The task image_generation on sixty digits with a tiny pair, for its tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from search_spaces.decisions import Candidate
from search_spaces.gan.objectives import ENERGIES
from workers.generation.course import AdversarialCourse
from workers.task import Epoch, State
from workers.tasks.image_generation import ImageGeneration
from workers.trial import Trial

sys.path.insert(0, str(Path(__file__).parent))  # where `tiny_gan` is
from tiny_gan import TinyGan, TinyPair

SMALL: dict[str, Any] = {"train_examples": 60, "validation_examples": 40, "evaluated": 50, "noise": 8, "batch_size": 20}
REPLAY: dict[str, Any] = {"replay": 0.5, "replay_size": 30}
CANDIDATE = Candidate({"deaf": False})


def task_of(**options: Any) -> ImageGeneration:
    return ImageGeneration(**{**SMALL, **options})


def pair(task: ImageGeneration, **options: Any) -> TinyPair:
    space = TinyGan(reconstructs=task.objective in ENERGIES, **options)
    torch.manual_seed(0)
    network = space.build(Candidate({"deaf": space.deaf}), task.signature)
    assert isinstance(network, TinyPair)
    return network


def train(task: ImageGeneration, trial: Trial, state: State | None = None, **options: Any) -> list[Epoch]:
    return list(task.train(pair(task, **options), trial, state))


def course(task: ImageGeneration, **options: Any) -> AdversarialCourse:
    return AdversarialCourse(task, pair(task, **options), task._evaluation(), Trial(1, CANDIDATE, 2, 4), None)
