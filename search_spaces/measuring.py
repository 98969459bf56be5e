"""What a network costs, counted on the network itself: for spaces that have no closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.inputs import blank
from search_spaces.space import Description, Signature, UnfitError


def measured(network: nn.Module, signature: Signature) -> Description:
    """Counts of one forward pass with a batch of one, in evaluation mode.

    Multiply-adds are those of convolutions, linear and recurrent layers; the activations are the outputs of all
    innermost layers, 4 bytes each. Works on the `meta` device, where nothing is computed. `UnfitError` where the
    signature names no inputs to pass forward.
    """
    if not signature.inputs:
        raise UnfitError(
            f"the task's signature ({signature.kind}) names no inputs, so what a network costs cannot be counted: "
            "write the space's `describe`"
        )
    parameters = sum(one.numel() for one in network.parameters() if one.requires_grad)
    multiply_adds = activations = 0

    def count(layer: nn.Module, _: Any, output: Any) -> None:
        nonlocal multiply_adds, activations
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor):
            return
        activations += 4 * first.numel()
        if isinstance(layer, nn.RNNBase):
            steps = first.shape[1 if layer.batch_first else 0] if first.dim() == 3 else first.shape[0]
            multiply_adds += steps * sum(one.numel() for one in layer.parameters() if one.dim() == 2)
        elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            multiply_adds += first.numel() * layer.weight[0].numel()

    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    device = next((one.device for one in network.parameters()), torch.device("meta"))
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(*blank(signature, 1, device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return Description(parameters, multiply_adds, activations)
