"""Space: an ordered table of decisions, and the network that a candidate of it describes."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from search_spaces.decisions import Candidate, Decisions

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.supernet import Share


class UnfitError(ValueError):
    """A space cannot build what a task needs; the message says value, rule and remedy."""


@final
@dataclass(frozen=True)
class Signature:
    """What goes into a model and what comes out: name to shape, without the batch dimension.

    `kind` names the agreement between a space and a task, for example ``image_classification``: inputs
    ``{"image": (channels, height, width)}``, outputs ``{"logits": (classes,)}``. Inputs that `vocabularies` names are
    whole numbers (64 bits) from 0, so many of them; all others are real ones.
    """

    kind: str
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    vocabularies: Mapping[str, int] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Node:
    """A vertex of a drawn or encoded network: `label` is what it does (an operation, `add`, `concat`, an input)."""

    name: str
    label: str


@final
@dataclass(frozen=True)
class Graph:
    """A directed acyclic graph, its nodes in topological order and its edges as pairs of node names."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


@final
@dataclass(frozen=True)
class Description:
    """A network without the network: counts for one example, and the graphs a person wants to see.

    `parameters` are trainable ones, `multiply_adds` those of one forward pass, `activation_bytes` what a
    forward pass in 32 bits keeps for the backward pass. `graphs` has one entry per part (`normal`, `reduction`,
    `network`).
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int
    graphs: Mapping[str, Graph] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Blueprint:
    """A network as data: `package.module:Class`, and the plain JSON arguments to call it with.

    The class and all it uses of this package import torch and the standard library only, so that an export can
    carry their sources along. `activation` takes the place of every ReLU that the network holds as a module.
    """

    network: str
    arguments: Mapping[str, Any]
    activation: str = "relu"

    def build(self) -> nn.Module:
        """The network, with fresh weights from torch's generator, on torch's default device."""
        module_name, _, class_name = self.network.partition(":")
        network: nn.Module = getattr(importlib.import_module(module_name), class_name)(**self.arguments)
        if self.activation != "relu":
            importlib.import_module("search_spaces.activations").replace_relu(network, self.activation)
        return network


def require(
    space: Space, signature: Signature, kind: str, inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> None:
    """Raise `UnfitError` unless `signature` is of `kind`; inputs and outputs by name, with numbers of dimensions."""
    ranks = [{name: len(shape) for name, shape in side.items()} for side in (signature.inputs, signature.outputs)]
    sizes = [size for side in (signature.inputs, signature.outputs) for shape in side.values() for size in shape]
    if signature.kind != kind or ranks != [dict(inputs), dict(outputs)] or min(sizes, default=1) < 1:
        expected = [
            ", ".join(f"{name} of {rank} dimensions" for name, rank in side.items()) for side in (inputs, outputs)
        ]
        raise UnfitError(
            f"{type(space).__name__} builds for {kind} with inputs {expected[0]} and outputs {expected[1]}, but the "
            f"task is {signature.kind} with inputs {dict(signature.inputs)} and outputs {dict(signature.outputs)}: "
            "choose another space or task"
        )


class Space(ABC):
    """What can be built: subclasses are frozen dataclasses whose fields are the options of a job file."""

    @property
    @abstractmethod
    def decisions(self) -> Decisions:
        """The table; computed from the options alone, and cheap to ask for again."""

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        """The network of `candidate` as data (further decisions in it are not read); needs no torch.

        A space writes this, so that an export carries readable source, or overrides `build`.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither blueprint nor build: write one of them")

    def build(self, candidate: Candidate, signature: Signature) -> nn.Module:
        """The network of `candidate` with fresh weights, as its blueprint says."""
        return self.blueprint(candidate, signature).build()

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        """Counts and graphs of the network that `build` would give.

        Ours compute them without building it and without torch; by default it is built on the `meta` device and
        counted.
        """
        import torch

        from search_spaces.measuring import measured

        with torch.device("meta"):
            return measured(self.build(candidate, signature), signature)

    def check(self, signature: Signature) -> None:
        """Raise `UnfitError` where this space cannot build for `signature`."""

    def canonical(self, candidate: Candidate) -> Hashable:
        """A key that candidates share exactly when they describe the same network up to the order of its parts."""
        return tuple((name, candidate[name]) for name in self.decisions if name in candidate)

    @property
    def shareable(self) -> bool:
        """Whether `shares` is there: whether children can be trained as parts of one supernet."""
        return False

    def shares(self, blueprint: Blueprint, parameters: Iterable[str]) -> Mapping[str, Share]:
        """Where the parameters of a child's network, by their names in it, are in the supernet of this space.

        Equal names mean equal shapes, whatever the child; no tensor of the supernet is used twice in one network.
        """
        raise NotImplementedError(f"{type(self).__name__} has no supernet")

    @property
    def progressive(self) -> bool:
        """Whether `smallest` and `grow` are there, for strategies that widen step by step."""
        return False

    def smallest(self) -> Iterator[Candidate]:
        """The candidates that a progressive search begins with, none of them twice (see `canonical`)."""
        raise NotImplementedError(f"{type(self).__name__} is not a progressive space")

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        """The next larger successors of `candidate`; none where it is as large as the space allows."""
        raise NotImplementedError(f"{type(self).__name__} is not a progressive space")
