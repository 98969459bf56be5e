"""What an encoder-decoder network costs, in closed form and without torch, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.space import Graph, Node, Signature

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def costs(candidate: Mapping[str, Any], signature: Signature) -> tuple[int, int, int]:
    """Parameters, multiply-adds and activations of one text read and one written, each as long as the signature says.

    Activations are numbers that a forward pass keeps: the output of every layer, and of every gate of a unit.
    """
    hidden, embedding, layers = (candidate[name] for name in ("hidden", "embedding", "layers"))
    (read,), (written,) = signature.inputs["source"], signature.inputs["target"]
    vocabulary, gates = signature.outputs["logits"][1], GATES[candidate["unit"]]
    states = 2 if candidate["unit"] == "lstm" else 1
    directions = 2 if candidate["bidirectional"] else 1
    parameters = vocabulary * embedding
    weights_read = weights_written = 0
    for layer in range(layers):
        inputs, width = hidden if layer else embedding, hidden // directions
        reading = directions * gates * width * (inputs + 1 + width)
        writing = gates * hidden * (inputs + hidden)
        parameters += reading + writing + 2 * gates * hidden
        weights_read += reading
        weights_written += writing
    parameters += vocabulary * (hidden + 1)
    multiply_adds = weights_read * read + (weights_written + vocabulary * hidden) * written
    activations = (read + written) * (embedding + layers * hidden * (gates + states))
    activations += written * vocabulary
    if candidate["attention"] != "none":
        more = _attention(candidate, read, written)
        parameters, multiply_adds, activations = parameters + more[0], multiply_adds + more[1], activations + more[2]
    if candidate.get("pointer", False):
        parameters += 2 * hidden + embedding + 1
        multiply_adds += written * (2 * hidden + embedding)
        activations += written * (1 + 2 * vocabulary)
    return parameters, multiply_adds, activations


def _attention(candidate: Mapping[str, Any], read: int, written: int) -> tuple[int, int, int]:
    """The same of the attention, and of the layer behind it that reads its context beside the state."""
    hidden, score = candidate["hidden"], candidate["attention"]
    square, pairs = hidden * hidden, read * written
    parameters, multiply_adds = 2 * square + hidden, 2 * square * written + 2 * hidden * pairs
    activations = 2 * pairs + 2 * hidden * written
    if score == "general":
        return parameters + square, multiply_adds + square * written, activations + hidden * written
    if score == "additive":
        kept = activations + hidden * (read + written + pairs)
        return parameters + 2 * square + 2 * hidden, multiply_adds + square * (read + written), kept
    return parameters, multiply_adds, activations


def drawn(candidate: Mapping[str, Any]) -> Graph:
    """The network, each layer a node; an encoder's layer passes its last state to that of the decoder beside it."""
    unit, hidden, layers = candidate["unit"], candidate["hidden"], candidate["layers"]
    both = "bidirectional " if candidate["bidirectional"] else ""
    nodes = [Node("source", "source"), Node("read", f"embedding {candidate['embedding']}")]
    edges = [("source", "read")]
    for layer in range(1, layers + 1):
        nodes.append(Node(f"encoder{layer}", f"{both}{unit} {hidden}"))
        edges.append((f"encoder{layer - 1}" if layer > 1 else "read", f"encoder{layer}"))
    nodes += [Node("target", "target"), Node("written", f"embedding {candidate['embedding']}, the same")]
    edges.append(("target", "written"))
    for layer in range(1, layers + 1):
        nodes.append(Node(f"decoder{layer}", f"{unit} {hidden}"))
        edges += [(f"decoder{layer - 1}" if layer > 1 else "written", f"decoder{layer}")]
        edges += [(f"encoder{layer}", f"decoder{layer}")]
    last, vocabulary = f"decoder{layers}", Node("logits", "linear, softmax")
    if candidate["attention"] == "none":
        return Graph((*nodes, vocabulary), (*edges, (last, "logits")))
    nodes += [Node("attention", f"{candidate['attention']} attention"), Node("combine", f"linear {hidden}, tanh")]
    edges += [(f"encoder{layers}", "attention"), (last, "attention"), ("attention", "combine"), (last, "combine")]
    nodes.append(vocabulary)
    edges.append(("combine", "logits"))
    if candidate.get("pointer", False):
        nodes += [Node("copy", "copy by attention"), Node("output", "mixed by a gate")]
        edges += [("source", "copy"), ("attention", "copy"), ("copy", "output"), ("logits", "output")]
        edges += [(last, "output"), ("attention", "output"), ("written", "output")]
    return Graph(tuple(nodes), tuple(edges))
