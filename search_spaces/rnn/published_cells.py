"""Published recurrent cells as data, and the published network of one.

Graph cells: DARTS_V1 and DARTS_V2 (Liu et al. 2019: first and second order), and ENAS (Pham et al. 2018) as DARTS' code
gives it; node 0 is what inputs and state give. Gated cells: LSTM with forget gate (Gers et al. 2000) and its peepholes
(Gers & Schmidhuber 2000), GRU (Cho et al. 2014; and as torch has it, with the reset behind the matrix), the minimal
gated unit (Zhou et al. 2016). Tree cell: the example of base 2 in Zoph & Le 2017, section 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.rnn.cell_family import CellJson
from search_spaces.space import Blueprint

NETWORK = "search_spaces.rnn.language_network:LanguageNetwork"

DARTS_V1: CellJson = {
    "family": "graph",
    "nodes": [
        *(["relu", 0], ["relu", 1], ["tanh", 2], ["relu", 3]),
        *(["relu", 4], ["identity", 1], ["relu", 5], ["relu", 1]),
    ],
    "output": [1, 2, 3, 4, 5, 6, 7, 8],
}

DARTS_V2: CellJson = {
    "family": "graph",
    "nodes": [
        *(["sigmoid", 0], ["relu", 1], ["relu", 1], ["identity", 1]),
        *(["tanh", 2], ["sigmoid", 5], ["tanh", 3], ["relu", 5]),
    ],
    "output": [1, 2, 3, 4, 5, 6, 7, 8],
}

ENAS: CellJson = {
    "family": "graph",
    "nodes": [
        *(["tanh", 0], ["tanh", 1], ["relu", 1], ["tanh", 3], ["tanh", 3], ["relu", 3]),
        *(["relu", 4], ["relu", 7], ["relu", 8], ["relu", 8], ["relu", 8]),
    ],
    "output": [2, 5, 6, 9, 10, 11],
}

LSTM: CellJson = {
    "family": "gated",
    "nodes": [
        *(["linear", "inputs", "state1"] for _ in range(4)),
        *(["sigmoid", "node1"], ["sigmoid", "node2"], ["tanh", "node3"], ["sigmoid", "node4"]),
        *(["product", "node6", "state2"], ["product", "node5", "node7"], ["add", "node9", "node10"]),
        *(["tanh", "node11"], ["product", "node8", "node12"]),
    ],
    "output": ["node13"],
    "states": ["output", "node11"],
}

PEEPHOLE_LSTM: CellJson = {
    "family": "gated",
    "nodes": [
        *(["linear", "inputs", "state1"] for _ in range(4)),
        *(["scale", "state2"], ["add", "node1", "node5"], ["sigmoid", "node6"]),
        *(["scale", "state2"], ["add", "node2", "node8"], ["sigmoid", "node9"]),
        *(["tanh", "node3"], ["product", "node10", "state2"], ["product", "node7", "node11"]),
        *(["add", "node12", "node13"], ["scale", "node14"], ["add", "node4", "node15"], ["sigmoid", "node16"]),
        *(["tanh", "node14"], ["product", "node17", "node18"]),
    ],
    "output": ["node19"],
    "states": ["output", "node14"],
}

GRU: CellJson = {
    "family": "gated",
    "nodes": [
        *(["linear", "inputs", "state1"], ["linear", "inputs", "state1"]),
        *(["sigmoid", "node1"], ["sigmoid", "node2"]),
        *(["product", "node3", "state1"], ["linear", "inputs", "node5"], ["tanh", "node6"]),
        *(["one_minus", "node4"], ["product", "node8", "node7"], ["product", "node4", "state1"]),
        ["add", "node9", "node10"],
    ],
    "output": ["node11"],
    "states": ["output"],
}

TORCH_GRU: CellJson = {
    "family": "gated",
    "nodes": [
        *(["linear", "inputs", "state1"], ["linear", "inputs", "state1"], ["linear", "inputs"], ["linear", "state1"]),
        *(["sigmoid", "node1"], ["sigmoid", "node2"]),
        *(["product", "node5", "node4"], ["add", "node3", "node7"], ["tanh", "node8"]),
        *(["one_minus", "node6"], ["product", "node10", "node9"], ["product", "node6", "state1"]),
        ["add", "node11", "node12"],
    ],
    "output": ["node13"],
    "states": ["output"],
}

MINIMAL_GATED_UNIT: CellJson = {
    "family": "gated",
    "nodes": [
        *(["linear", "inputs", "state1"], ["sigmoid", "node1"]),
        *(["product", "node2", "state1"], ["linear", "inputs", "node3"], ["tanh", "node4"]),
        *(["one_minus", "node2"], ["product", "node6", "state1"], ["product", "node2", "node5"]),
        ["add", "node7", "node8"],
    ],
    "output": ["node9"],
    "states": ["output"],
}

TREE_EXAMPLE: CellJson = {
    "family": "tree",
    "nodes": [["add", "tanh"], ["product", "relu"], ["product", "sigmoid"]],
    "inject": ["add", "relu"],
    "injected": 0,
    "memory": 1,
}

CELLS: Mapping[str, CellJson] = {
    "darts_v1": DARTS_V1,
    "darts_v2": DARTS_V2,
    "enas": ENAS,
    "lstm": LSTM,
    "peephole_lstm": PEEPHOLE_LSTM,
    "gru": GRU,
    "torch_gru": TORCH_GRU,
    "minimal_gated_unit": MINIMAL_GATED_UNIT,
    "tree_example": TREE_EXAMPLE,
}


def darts_v2_words(vocabulary: int = 10000) -> Blueprint:
    """DARTS_V2 for words as published for the Penn Treebank: 22,960,000 parameters with 10,000 words.

    The dropouts are those of its training script (https://github.com/quark0/darts): what a layer reads is dropped there
    twice, with probabilities 0.2 and 0.75, which is once with 0.8.
    """
    return language_blueprint(
        vocabulary,
        DARTS_V2,
        {"embedding": 850, "hidden": 850, "layers": 1},
        {"embedding": 0.1, "input": 0.8, "hidden": 0.25, "output": 0.75},
    )


def language_blueprint(
    vocabulary: int, cell: CellJson, sizes: Mapping[str, int], dropouts: Mapping[str, float], tied: bool = True
) -> Blueprint:
    """A network of layers of `cell`, as `LanguageNetwork` takes its arguments."""
    arguments = {
        "vocabulary": vocabulary,
        "sizes": dict(sizes),
        "cell": dict(cell),
        "tied": tied,
        "dropouts": dict(dropouts),
    }
    return Blueprint(NETWORK, arguments)
