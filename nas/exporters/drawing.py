"""cell.svg: every graph of the architecture, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

from nas.drawing import svg
from nas.exporter import Exporter, LeftOut, Winner


@final
class DrawingExporter(Exporter):
    """Writes one SVG per graph that the space describes; a single cell is `cell.svg`."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        graphs = winner.description.graphs if winner.description else {}
        if not graphs:
            raise LeftOut("the space describes no graph to draw")
        for name, graph in graphs.items():
            title = f"{name} of {winner.search}, trial {winner.record.trial.id}"
            (folder / f"{name.replace('/', '-')}.svg").write_text(svg(graph, title), encoding="utf-8")
