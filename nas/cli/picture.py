"""Picture: a network as `nas show` draws it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import final

from nas.architecture import FILE, FORMAT, Architecture
from nas.cli.settings import candidate_file
from nas.jobfile.document import parse
from nas.quantities import count, size
from search_spaces.decisions import Candidate
from search_spaces.space import Description, Graph, Signature, Space
from workers.errors import NotFoundError, UserError
from workers.plugins import Spec, load
from workers.trial import Json

PLAIN = Signature("image_classification", {"image": (3, 32, 32)}, {"logits": (10,)})  # where a file names no task


@final
@dataclass(frozen=True)
class Picture:
    """A candidate, its counts, and the graphs of its parts."""

    title: str
    candidate: Candidate
    description: Description

    def only(self, part: str | None) -> Picture:
        """The picture with one of its parts; all of them for None."""
        if part is None:
            return self
        graphs = self.description.graphs
        if part not in graphs:
            near = get_close_matches(part, graphs, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(graphs)}"
            raise NotFoundError(f"{self.title} has no part {part!r}: {hint}")
        return replace(self, description=replace(self.description, graphs={part: graphs[part]}))

    def text(self, width: int) -> str:
        """Title, parts and counts in characters."""
        from nas.drawing import text

        blocks = [self.title]
        blocks += [f"{name}\n{text(graph, width)}" for name, graph in self.description.graphs.items()]
        described = self.description
        if not described.graphs:
            blocks.append("no drawing: `describe` of its space gives no graphs")
        blocks.append(
            f"{count(described.parameters)} parameters, {count(described.multiply_adds)} multiply-adds, "
            f"{size(described.activation_bytes)} of activations for one example"
        )
        return "\n\n".join(blocks)

    def json(self) -> dict[str, Json]:
        """Everything as plain JSON."""
        described = self.description
        return {
            "title": self.title,
            "candidate": self.candidate.json(),
            "parameters": described.parameters,
            "multiply_adds": described.multiply_adds,
            "activation_bytes": described.activation_bytes,
            "graphs": {name: _graph(graph) for name, graph in described.graphs.items()},
        }

    def write_svg(self, path: Path) -> Iterator[Path]:
        """Draw into `path`; several parts go to files beside it, named after them."""
        from nas.drawing import svg

        graphs = self.description.graphs
        for name, graph in graphs.items():
            file = path if len(graphs) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix or '.svg'}")
            file.write_text(svg(graph, f"{self.title}: {name}"), encoding="utf-8")
            yield file


def draw(title: str, space: Space | None, candidate: Mapping[str, Json], signature: Signature) -> Picture:
    """The picture of a candidate, whose values may include those of a task."""
    if space is None:
        raise UserError(f"{title} has no search space, so there is no network to draw: `nas best` shows its settings")
    ours, hanging = {name: candidate[name] for name in candidate if name in space.decisions}, space.decisions.hanging
    alone = space.decisions.candidate({name: value for name, value in ours.items() if name not in hanging})
    rest = {name: space.decisions[name].check(name, value) for name, value in ours.items() if name in hanging}
    chosen = Candidate({**alone, **rest})
    return Picture(title, chosen, space.describe(chosen, signature))


def draw_file(path: Path, space: str | None) -> Picture:
    """The picture of what a file holds: an `architecture.json` (or the folder it is in), or a bare candidate."""
    file = path / FILE if path.is_dir() else path
    values = candidate_file(file)
    record = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(record, dict) and record.get("format") == FORMAT:
        known = Architecture.from_json(record, str(file))
        spec = known.space if space is None else _spec(space)
        return draw(str(path), _space(spec), known.candidate, known.signature)
    if space is None:
        raise UserError(f"{path} does not say which space its candidate is of: name it, as in --space pnas")
    return draw(str(path), _space(_spec(space)), values, PLAIN)


def _spec(written: str) -> Spec:
    value = parse(f"space: {written}", "--space").values["space"]
    if isinstance(value, str):
        return Spec(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UserError(f"--space is {written!r}, but must be a name such as pnas, or {{name: pnas, blocks: 3}}")
    return Spec(value["name"], {key: option for key, option in value.items() if key != "name"})


def _space(spec: Spec | None) -> Space | None:
    if spec is None:
        return None
    try:
        space: Space = load("search_spaces", spec.name, Space)(**spec.options)
    except NotFoundError as error:
        raise UserError(str(error)) from None
    except TypeError as error:
        raise UserError(f"space {spec.name}: {error}") from None
    return space


def _graph(graph: Graph) -> Json:
    nodes = [{"name": node.name, "label": node.label} for node in graph.nodes]
    return {"nodes": nodes, "edges": [list(edge) for edge in graph.edges]}
