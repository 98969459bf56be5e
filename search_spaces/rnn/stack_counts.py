"""What a stack of recurrent layers costs, and its graph, from its plan alone: in closed form, without torch."""

from __future__ import annotations

from typing import final

from search_spaces.rnn.cell_families import cell_costs, cell_drawing
from search_spaces.rnn.cell_family import CellCosts
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.space import Description, Graph, Node

GATES = {"rnn": 1, "lstm": 4, "gru": 3, "peephole_lstm": 4}
KEPT = {"rnn": 1, "lstm": 16, "gru": 7, "peephole_lstm": 9}  # numbers per unit and step, as measured on a CPU


@final
class StackCounts:
    """Counts of one text, layer after layer: parameters, multiply-adds, numbers kept for the backward pass; the graph.

    Each method adds a part behind what is there, and counts as our networks compute it.
    """

    def __init__(self, plan: StackPlan, vocabulary: int, steps: int) -> None:
        self.plan, self.steps = plan, steps
        self.parameters = vocabulary * plan.embedding
        self.multiply_adds = 0
        self.kept = 0
        self.nodes = [Node("tokens", "tokens"), Node("embedding", f"embedding {plan.embedding}")]
        self.edges = [("tokens", "embedding")]
        self.last = "embedding"
        for number in range(plan.layers):
            self._layer(number)

    def readout(self, kind: str) -> None:
        """What is read of the last layer's outputs: all of these are kept, by attention also keys and weights."""
        outputs = self.plan.outputs
        self.kept += self.steps * outputs
        if kind == "attention":
            self._weigh(outputs, outputs, True, self.steps)
            self._weigh(outputs, 1, False, self.steps)
            self.kept += self.steps
        self._node("readout", {"last": "last state", "attention": "attention"}.get(kind, f"{kind} pool"), self.last)

    def classifier(self, classes: int) -> None:
        """The logits of one vector."""
        self._weigh(self.plan.outputs, classes, True, 1)
        self._node("classifier", "classifier", self.last)

    def prediction(self, vocabulary: int, tied: bool) -> None:
        """The logits of the next token at each step, which the loss keeps."""
        size, outputs = self.plan.embedding, self.plan.outputs
        if tied and size != outputs:
            self._weigh(outputs, size, False, self.steps)
            self._node("projection", f"projection {size}", self.last)
        self._weigh(size if tied else outputs, vocabulary, True, self.steps)
        self.parameters -= size * vocabulary if tied else 0
        self.kept += self.steps * vocabulary
        self._node("prediction", "tied prediction" if tied else "prediction", self.last)

    def describe(self) -> Description:
        graphs = {"network": Graph(tuple(self.nodes), tuple(self.edges))}
        if self.plan.unit == "searched":
            graphs["cell"] = cell_drawing(self.plan.cell)
        return Description(self.parameters, self.multiply_adds, 4 * self.kept, graphs)

    def _layer(self, number: int) -> None:
        plan, before = self.plan, self.last
        if number and plan.pyramidal:
            self.steps = -(-self.steps // 2)
            self._node(f"halve{number + 1}", "halve the steps", before)
            before = self.last
        label = f"{plan.unit.replace('_', ' ')} {plan.hidden}"
        self._unit(number)
        self._node(f"layer{number + 1}", label, before)
        if plan.bidirectional:
            self._unit(number)
            self._node(f"back{number + 1}", f"{label} backwards", before)
            self._node(f"both{number + 1}", "concat", f"layer{number + 1}", f"back{number + 1}")
        if number and plan.connection != "none":
            self._connection(number, before)

    def _unit(self, number: int) -> None:
        """One layer in one direction."""
        inputs = self.plan.inputs(number)
        costs = unit_costs(self.plan, inputs)
        self.parameters += costs.parameters
        self.multiply_adds += self.steps * costs.multiply_adds
        self.kept += self.steps * (2 * inputs + costs.values)

    def _connection(self, number: int, before: str) -> None:
        inputs, outputs = self.plan.inputs(number), self.plan.outputs
        if inputs != outputs:
            self._weigh(inputs, outputs, False, self.steps)
        if self.plan.connection == "highway":
            self._weigh(inputs, outputs, True, self.steps)
            self.kept += 2 * self.steps * outputs
        label = "add" if self.plan.connection == "residual" else "highway"
        self._node(f"connection{number + 1}", label, before, self.last)

    def _weigh(self, inputs: int, outputs: int, bias: bool, steps: int) -> None:
        self.parameters += (inputs + bias) * outputs
        self.multiply_adds += steps * inputs * outputs
        self.kept += steps * inputs

    def _node(self, name: str, label: str, *sources: str) -> None:
        self.nodes.append(Node(name, label))
        self.edges += [(source, name) for source in sources]
        self.last = name


def unit_costs(plan: StackPlan, inputs: int) -> CellCosts:
    """What a layer of `plan.unit` in one direction costs: torch's have two biases for each gate, ours one."""
    if plan.unit == "searched":
        return cell_costs(plan.cell, inputs, plan.hidden)
    hidden, gates = plan.hidden, GATES[plan.unit]
    weights, peepholes = gates * hidden * (inputs + hidden), 3 * hidden if plan.unit == "peephole_lstm" else 0
    biases = gates * hidden * (1 if peepholes else 2)
    return CellCosts(weights + biases + peepholes, weights + peepholes, KEPT[plan.unit] * hidden)
