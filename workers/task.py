"""Task: what a child model learns, from which data, by which recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Signature
from workers.errors import UserError
from workers.objectives import Objective
from workers.trial import Attempt, Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

    from parameter_server.policy import Policy
    from workers.batches import Batches
    from workers.supernet import Supernet


@final
@dataclass(frozen=True)
class State:
    """Everything that training needs to go on exactly: named tensors, and plain JSON (counters, generator states).

    The codec of a checkpoint (`workers.checkpoint`) writes the tensors as safetensors and the JSON beside them.
    """

    epoch: int
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    record: Mapping[str, Json] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Epoch:
    """One step of `Task.train`: the metrics after it, and the state that continues exactly from here.

    `examples` (inputs and outputs of the model, by name) are kept beside the checkpoint, so that an export can prove
    that it answers the same. `exhibits` are files that a person may want to look at, by name: `.png`, `.txt`, or
    `.json` that a report can draw (`workers.exhibits`).
    """

    metrics: Mapping[str, float]
    state: State | None = None
    examples: Mapping[str, torch.Tensor] = field(default_factory=dict)
    exhibits: Mapping[str, bytes] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Deployed:
    """A module that is handed over, with example inputs (a batch of 2), and what its inputs and outputs are called."""

    module: nn.Module
    examples: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Task(ABC):
    """A dataset, a recipe, the recipe's own decisions, and a signature.

    Subclasses are dataclasses whose fields are the options of a job file. A metric named in `objectives` comes with its
    direction; other metrics may be yielded too.
    """

    needs_space: ClassVar[bool] = False  # whether it trains nothing but networks of a space

    @property
    @abstractmethod
    def decisions(self) -> Decisions:
        """The recipe's settings that the job left open; may switch decisions of the space and be switched by them."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What goes into a model and what comes out; may look at the data set."""

    @property
    @abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """The metrics that `train` yields, the one a search uses by default first."""

    @property
    def measured(self) -> str:
        """How to read the metrics, in a sentence or two for people; nothing where their names say it.

        Where there is one, what stands beside an objective (`fid`: `fid_real`) is shown with it.
        """
        return ""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How long a child is trained in the search, unless a strategy or the job says otherwise."""

    @property
    def fidelities(self) -> tuple[int, ...]:
        """The epochs after which a child can be judged, ascending; empty: any number of them."""
        return ()

    def prepare(self) -> None:
        """Load the data, once per process; raise with a remedy where it is missing."""

    def located(self) -> Mapping[str, Json]:
        """The options that name files or folders, in full: what a journal keeps, for processes in other folders."""
        return {}

    def adapt(self, blueprint: Blueprint, candidate: Candidate) -> Blueprint:
        """The network that is trained and deployed for `candidate`: the space's, changed where the recipe says so."""
        return blueprint

    @abstractmethod
    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Train `model` from `state` (None: from scratch) up to epoch `trial.epochs`, yielding after each epoch.

        With nothing left to train it yields once: the metrics of the model in `state` on `trial.split`.
        """

    def batches(self, model: nn.Module, trial: Trial, state: State | None = None, parts: int = 1) -> Batches:
        """The training of `model` from `state` as batches that several workers share, `parts` of them for one step.

        Raises `UserError` where that cannot be.
        """
        raise UserError(
            f"{type(self).__name__} trains in one piece, so that workers cannot share its batches, as those of "
            "image_classification: for a longer training set final: {epochs: ...} in its job, and run that again"
        )

    def sharing_policy(self) -> Policy:
        """How a store steps on the gradients of shared weights; `UserError` where this task's children share none."""
        raise UserError(f"{type(self).__name__} cannot train children that share weights: set weights: own")

    def train_shared(self, attempt: Attempt, supernet: Supernet) -> Iterator[Epoch]:
        """Train the weights of `supernet` for the trial's epochs, those of its child and of others.

        After each epoch yields the child's metrics with these weights; once where there is nothing to train.
        """
        raise UserError(f"{type(self).__name__} cannot train children that share weights: set weights: own")

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...] | None:
        """At most `size` training examples as a model takes them, on the CPU, drawn by `seed`; None where none can be.

        For proxies (`workers.proxy`), which otherwise see noise of the signature's shapes.
        """
        return None

    def part(self, blueprint: Blueprint) -> tuple[Blueprint, str]:
        """The part of a network that is handed over as source, and what the names of its weights begin with.

        A generative adversarial network is trained as a pair, but handed over as its generator.
        """
        return blueprint, ""

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """What is exported, by name, the main thing first; `model` is the whole network that was trained.

        By default that itself, with noise as its signature describes it.
        """
        import torch

        from search_spaces.inputs import noise

        signature = self.signature
        if not signature.inputs:
            raise NotImplementedError(f"{type(self).__name__} has no model to export")
        examples = noise(signature, 2, torch.Generator().manual_seed(0))
        return {"model": Deployed(model.eval(), examples, tuple(signature.inputs), tuple(signature.outputs))}
