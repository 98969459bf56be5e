"""model.py: the network as readable PyTorch that needs torch alone, and safetensors to read the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from nas.exporter import Exporter, LeftOut, Winner
from nas.quantities import metric
from nas.standalone.inline import Standalone, inline
from nas.standalone.literal import literal
from nas.standalone.module import InlineError
from nas.standalone.running import run
from search_spaces.space import Blueprint

REPLACE = "search_spaces.activations:replace_relu"

FOOT = '''
def build() -> nn.Module:
    """The network with fresh weights."""
{build}


def load(path: str | Path = Path(__file__).with_name("weights.safetensors")) -> nn.Module:
    """The trained network, in evaluation mode; inputs and outputs as README.md says."""
    from safetensors.torch import load_file

    network = build()
    network.load_state_dict(load_file(path))
    return network.eval()
'''


@final
class SourceExporter(Exporter):
    """Writes `model.py`."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        if winner.blueprint is None:
            raise LeftOut(
                "the space builds its networks in its own way, without a blueprint whose source could be inlined"
            )
        try:
            source = model_source(winner.blueprint, _heading(winner))
        except InlineError as error:
            raise LeftOut(f"the network's source cannot stand alone: {error}") from error
        (folder / "model.py").write_text(source, encoding="utf-8")


def model_source(blueprint: Blueprint, heading: str) -> str:
    """The text of `model.py`; where leaving out unused table entries would break the network, they stay."""
    arguments = json.loads(json.dumps(blueprint.arguments))
    for prune in (True, False):
        source = _composed(blueprint, heading, arguments, prune)
        if not prune or _builds(source):
            return source
    raise AssertionError("the second try returns")


def _composed(blueprint: Blueprint, heading: str, arguments: Mapping[str, Any], prune: bool) -> str:
    roots = [blueprint.network] + ([REPLACE] if blueprint.activation != "relu" else [])
    found = inline(roots, [arguments, blueprint.activation], prune)
    build = [f"    return {found.names[0]}(**ARGUMENTS)"]
    if len(roots) > 1:
        build = [
            f"    network = {found.names[0]}(**ARGUMENTS)",
            f"    {found.names[1]}(network, {json.dumps(blueprint.activation)})",
            "    return network",
        ]
    taken = {"ARGUMENTS", "build", "load"} & set(found.code.split())
    if any(f"\n{kind} {name}" in f"\n{found.code}" for kind in ("def", "class") for name in taken):
        raise InlineError(f"it defines {', '.join(sorted(taken))} itself, names that the exported file needs")
    parts = [
        f'"""{heading}"""',
        "from __future__ import annotations",
        _imports(found),
        f"{found.code}\n\n\nARGUMENTS = {literal(arguments)}\n\n" + FOOT.format(build="\n".join(build)),
    ]
    return "\n\n".join(parts[:3]) + "\n\n\n" + parts[3]


def _imports(found: Standalone) -> str:
    """The imports with those of the foot; `Path` and `nn` may be there already."""
    standard: list[str] = []
    torch: list[str] = []
    for line in found.imports.splitlines():
        if line:
            (torch if line.split()[1].partition(".")[0] == "torch" else standard).append(line)
    path = [line for line in standard if line.startswith("from pathlib import")]
    standard = [line for line in standard if line not in path] + [_with(path, "from pathlib import ", "Path")]
    top = [line for line in torch if line.startswith("from torch import")]
    torch = [line for line in torch if line not in top] + [_with(top, "from torch import ", "nn")]
    return "\n".join(sorted(standard, key=_sorting)) + "\n\n" + "\n".join(sorted(torch, key=_sorting))


def _with(lines: list[str], start: str, name: str) -> str:
    names = {one.strip() for line in lines for one in line.removeprefix(start).split(",")}
    return start + ", ".join(sorted(names | {name}))


def _sorting(line: str) -> tuple[bool, str]:
    return line.startswith("from "), line.split()[1]


def _builds(source: str) -> bool:
    """Whether the network can be built, which costs no memory on the `meta` device."""
    import torch

    try:
        module = run(source)
        with torch.device("meta"):
            module.build()
    except Exception:
        return False
    return True


def _heading(winner: Winner) -> str:
    """The docstring of the file, safe to stand between triple quotes."""
    name = winner.blueprint.network.rpartition(":")[2] if winner.blueprint else "The network"
    main = winner.task.objectives[0].metric
    tested = winner.metrics.get(f"test_{main}")
    reached = f", test {main.replace('_', ' ')} {metric(tested)}" if tested is not None else ""
    written = (
        f"Written by Cellwright {winner.versions.get('cellwright', '')}; needs torch, and safetensors for the weights."
    )
    text = f"{name} that search {winner.search} found (trial {winner.record.trial.id}{reached}).\n\n{written}\n"
    return text.replace("\\", "/").replace('"', "'").replace(" ;", ";")
