"""Drawing: a network as a graph, node by node."""

from __future__ import annotations

from typing import final

from search_spaces.space import Graph, Node


@final
class Drawing:
    """Nodes in the order in which they are added, each behind those it reads."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._edges: list[tuple[str, str]] = []

    def add(self, name: str, label: str, *sources: str) -> str:
        """A node called `name` that reads `sources`; its name."""
        self._nodes.append(Node(name, label))
        self._edges += [(source, name) for source in sources]
        return name

    def graph(self) -> Graph:
        """What was drawn."""
        return Graph(tuple(self._nodes), tuple(self._edges))
