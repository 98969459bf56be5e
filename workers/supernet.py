"""Supernet: the children of a space as parts of one network, whose tensors are in a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor, nn

from parameter_server.store import Pull, Store, StoreError
from search_spaces.decisions import Candidate
from search_spaces.space import Signature, Space
from search_spaces.supernet import Share
from workers.first_values import first_values
from workers.sharing import Sharing

if TYPE_CHECKING:
    from parameter_server.store import Array, Tensors
    from workers.task import Task


@final
@dataclass(frozen=True, eq=False)
class Part:
    """A child's network, and where its parameters are in the supernet; batch norm reads each batch's statistics."""

    network: nn.Module
    shares: dict[str, Share]

    @property
    def names(self) -> Iterator[str]:
        """The tensors of the supernet that this child uses."""
        return (name for share in self.shares.values() for name in share.names)

    @torch.no_grad()
    def fill(self, tensors: Tensors) -> None:
        """Give the network the values of these tensors."""
        for parameter, weight in self.network.named_parameters():
            share = self.shares[parameter]
            if share.sizes:
                values = np.concatenate([tensors[name] for name in share.names], axis=1)
            else:
                values = tensors[share.names[0]].copy()  # torch warns of arrays that cannot be written to
            weight.copy_(torch.from_numpy(values))

    def gradients(self) -> Iterator[tuple[str, Tensor]]:
        """The gradient of each tensor of the supernet that the last backward pass reached."""
        for parameter, weight in self.network.named_parameters():
            share, gradient = self.shares[parameter], weight.grad
            if gradient is not None:
                pieces = torch.split(gradient, list(share.sizes), dim=1) if share.sizes else [gradient]
                yield from zip(share.names, pieces, strict=True)

    def owners(self) -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
        """Each tensor of the supernet that the child uses, the layer that does, and the tensor's shape."""
        for parameter, weight in self.network.named_parameters():
            share, owner = self.shares[parameter], self.network.get_submodule(parameter.rpartition(".")[0])
            whole = tuple(weight.shape)
            if not share.sizes:
                yield share.names[0], owner, whole
            for name, size in zip(share.names, share.sizes, strict=False):
                yield name, owner, (whole[0], size, *whole[2:])


@final
class Supernet:
    """Builds children and fills them from the store, where a tensor is created when a child first uses it."""

    def __init__(self, store: Store, space: Space, task: Task, sharing: Sharing) -> None:
        self.store, self.space, self.task, self.sharing = store, space, task, sharing
        self.initialiser: str = getattr(task, "initialiser", "default")
        self._known: set[str] = set()

    @property
    def signature(self) -> Signature:
        """What goes into the network and what comes out."""
        return self.task.signature

    def part(self, candidate: Candidate) -> Part:
        """The network of `candidate`, on the CPU and without values, and its shares."""
        blueprint = self.task.adapt(self.space.blueprint(candidate, self.signature), candidate)
        with torch.device("meta"):
            network = blueprint.build()
        _read_batch_statistics(network)
        shares = self.space.shares(blueprint, [name for name, _ in network.named_parameters()])
        return Part(network.to_empty(device="cpu"), dict(shares))

    def fill(self, parts: Sequence[Part]) -> Pull:
        """Give `parts` the values that the store has now, all of one moment; what is new is created first."""
        names = dict.fromkeys(name for part in parts for name in part.names)
        self._create(parts)
        try:
            pulled = self.store.pull(names)
        except StoreError:
            self._known.clear()  # a store that was recovered may be from before a tensor's creation
            self._create(parts)
            pulled = self.store.pull(names)
        for part in parts:
            part.fill(pulled.tensors)
        return pulled

    def _create(self, parts: Iterable[Part]) -> None:
        new: dict[str, Array] = {}
        for part in parts:
            for name, owner, shape in part.owners():
                if name not in self._known and name not in new:
                    new[name] = first_values(name, owner, shape, self.initialiser, self.sharing.seed).numpy()
        if new:
            self.store.create(new)
            self._known |= new.keys()


def mean_gradients(parts: Sequence[Part]) -> dict[str, Array]:
    """The gradient of the mean of the parts' losses; a tensor that only some of them use has only their share."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, gradient in part.gradients():
            total[name] = total[name] + gradient if name in total else gradient
    return {name: (value / len(parts)).cpu().contiguous().numpy() for name, value in total.items()}


def _read_batch_statistics(network: nn.Module) -> None:
    """Let batch normalisation always use the batch's own statistics: running ones would be of many children."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
