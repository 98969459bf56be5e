"""Synaptic flow (Tanaka et al., NeurIPS 2020): https://arxiv.org/abs/2006.05467."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from workers.proxy import Proxy

if TYPE_CHECKING:
    from torch import Tensor, nn

NONE = -745.0  # nats, below the logarithm of the smallest number above 0: no path leads through the network
SCALES = (1.0, 1e-100, 1e-200, 1e-300)  # of what goes in and of what comes back, until nothing overflows


@final
class SynFlow(Proxy):
    """The natural logarithm of the sum over all weights of |w| dR/d|w|, in 64 bits.

    R is the sum of the outputs for an input of ones, when every weight stands as its absolute value: the sum over all
    paths of the products along them. What is no path is left out: biases are 0, and normalisations and elementwise
    nonlinearities are identities, as they are where nothing is negative. R can be larger than any number of 64 bits;
    it is linear in the input, as its derivative is in what is sent back, so both are made smaller as long as needed.
    """

    def score(self, model: nn.Module, inputs: Sequence[Tensor]) -> float | None:
        import torch

        network = linearised(model)
        weights = [one for name, one in network.named_parameters() if not _bias(name)]
        if not weights:
            return None
        ones = [torch.ones((1, *one.shape[1:]), dtype=torch.float64, device=one.device) for one in inputs]
        for scale in SCALES:
            with torch.enable_grad():
                output = network(*(scale * one for one in ones))
                gradients = torch.autograd.grad(scale * output.sum(), weights, allow_unused=True)
            flows = [(w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True) if g is not None]
            flow = float(torch.stack(flows).sum()) if flows else 0.0
            if math.isfinite(flow):
                return math.log(flow) - 2 * math.log(scale) if flow > 0 else NONE
        return None


def linearised(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode and 64 bits: weights not negative, biases 0, norms and nonlinearities identities."""
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase

    from search_spaces.activations import ACTIVATIONS

    plain = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, *ACTIVATIONS.values())
    network = copy.deepcopy(model).double().eval()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, plain):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for name, one in network.named_parameters():
            one.requires_grad_(True)
            one.zero_() if _bias(name) else one.abs_()
    return network


def _bias(name: str) -> bool:
    return "bias" in name.rpartition(".")[2]
