"""Search without training: how differently a network sees different inputs (Mellor et al., ICML 2021).

https://arxiv.org/abs/2006.04647
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from workers.proxy import Proxy

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST = 1e-6  # an eigenvalue below this is one of inputs that look alike, whose logarithm would be minus infinity


@final
class Naswot(Proxy):
    """log |K|, where K[i, j] counts the units that agree on inputs i and j about being on or off.

    Units are the outputs of all elementwise nonlinearities; one is on where it is positive. Batch norms see the
    statistics of the minibatch, as at the first step of training; nothing is dropped.
    """

    def score(self, model: nn.Module, inputs: Sequence[Tensor]) -> float | None:
        import torch

        agreeing = kernel(model, inputs)
        if agreeing is None:
            return None
        return float(torch.linalg.eigvalsh(agreeing).clamp(min=LEAST).log().sum())


def kernel(model: nn.Module, inputs: Sequence[Tensor]) -> Tensor | None:
    """(n, n) in 64 bits; None where the network has no nonlinearity that is a module."""
    import torch
    from torch.nn.modules.batchnorm import _NormBase

    from search_spaces.activations import ACTIVATIONS

    network = copy.deepcopy(model).eval()
    for module in network.modules():
        if isinstance(module, _NormBase):
            module.train()
    count = len(inputs[0])
    total = torch.zeros(count, count, dtype=torch.float64)
    units = 0

    def agree(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total, units
        on = (output.detach().reshape(count, -1) > 0).float()
        units += on.shape[1]
        off = 1 - on
        total += (on @ on.T + off @ off.T).double().cpu()

    for module in network.modules():
        if isinstance(module, tuple(ACTIVATIONS.values())):
            module.register_forward_hook(agree)
    with torch.no_grad():
        network(*inputs)
    return total if units else None
