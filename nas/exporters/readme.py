"""README.md: what the folder holds, how to load the network, what it scores, what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

from nas.architecture import FILE
from nas.exporter import Exporter, Winner
from nas.exporters.architecture import preprocessing
from nas.quantities import count, duration, metric, scale, score
from workers.task import Deployed
from workers.trial import Json

FILES = {
    "architecture.json": "the candidate, its space, what was measured, with which versions",
    "model.py": "the network as plain PyTorch; needs `torch`, and `safetensors` for the weights",
    "weights.safetensors": "trained weights and batch-norm statistics",
    "model.onnx": "the network for onnxruntime, any batch size",
    "model.pt2": "the network as `torch.export` writes it, any batch size",
    "parity.json": "how far each form is from the outputs that the search itself computed",
}

SHOWN = 300  # letters of a piece of preprocessing

FORMS = {"source": "model.py", "onnx": "model.onnx", "pt2": "model.pt2", "drawing": "*.svg", "parity": "parity.json"}


@final
class ReadmeExporter(Exporter):
    """Writes `README.md`."""

    after = ("architecture", "source", "safetensors", "onnx", "pt2", "drawing", "parity")

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        (folder / "README.md").write_text(readme(winner, folder, missing), encoding="utf-8")


def readme(winner: Winner, folder: Path, missing: Mapping[str, str]) -> str:
    """The text, for the files that are in `folder`."""
    parts = [
        f"# {winner.search}: trial {winner.record.trial.id}",
        "A network found and trained by Cellwright.",
        _loading(winner, folder),
        _input(winner),
        _scores(winner),
        _proof(folder),
        _files(folder, missing),
        _made(winner, folder),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _loading(winner: Winner, folder: Path) -> str:
    signature = winner.task.signature
    whole = {name: signature.vocabularies.get(name) is not None for name in signature.inputs}
    inputs = ", ".join(_zeros(shape, whole[name]) for name, shape in signature.inputs.items())
    main = next(iter(winner.deployed))
    examples = [(tuple(one.shape[1:]), not one.is_floating_point()) for one in winner.main.examples]
    if (folder / "model.py").is_file() and (folder / "weights.safetensors").is_file():
        code = ["import torch", "from model import load", "network = load()", f"outputs = network({inputs})"]
        note = "In this folder, with `pip install torch safetensors`."
    elif (folder / f"{main}.pt2").is_file():
        inputs = ", ".join(_zeros(shape, is_whole) for shape, is_whole in examples)
        code = ["import torch", f'network = torch.export.load("{main}.pt2").module()', f"outputs = network({inputs})"]
        note = "In this folder, with `pip install torch`."
    elif (folder / f"{main}.onnx").is_file():
        code = ["import numpy", "import onnxruntime", f'session = onnxruntime.InferenceSession("{main}.onnx")']
        code.append("kinds = {'tensor(int64)': 'int64'}")
        code.append(
            "named = {one.name: numpy.zeros((3, *one.shape[1:]), kinds.get(one.type, 'float32')) "
            "for one in session.get_inputs()}"
        )
        code.append("outputs = session.run(None, named)")
        note = "In this folder, with `pip install onnxruntime`."
    else:
        return ""
    return "## Load it\n\n```python\n" + "\n".join(code) + "\n```\n\n" + note


def _zeros(shape: Sequence[int], whole: bool) -> str:
    return f"torch.zeros({', '.join(['3', *map(str, shape)])}{', dtype=torch.long' if whole else ''})"


def _input(winner: Winner) -> str:
    signature = winner.task.signature
    sides = (("Input", signature.inputs), ("Output", signature.outputs))
    lines = [
        f"- {side} `{name}`: {_kind(signature.vocabularies.get(name))}, shape `{_shape(shape)}`"
        for side, shapes in sides
        for name, shape in shapes.items()
    ]
    if len(winner.deployed) > 1 or winner.main.inputs != tuple(signature.inputs):
        lines += [line for name, deployed in winner.deployed.items() for line in _module(winner, name, deployed)]
    said = preprocessing(winner)
    if "mean" in said and "std" in said:
        lines.append("- Layout: channels first (batch, channels, height, width)")
        lines.append("- Preprocessing: `(pixels / 255 - mean) / std` per channel, pixels from 0 to 255, with")
        lines += [f"  - mean `{_numbers(said['mean'])}`", f"  - std `{_numbers(said['std'])}`"]
    if said.get("classes"):
        lines.append(f"- Classes, in the order of the outputs: {', '.join(map(str, said['classes']))}")
    for key, value in said.items():
        if key not in ("mean", "std", "classes"):
            text = value if isinstance(value, str) else json.dumps(value)
            shown = f"`{text}`" if len(text) <= SHOWN else f"{len(value):,} entries, in `{FILE}` under `preprocessing`"
            lines.append(f"- {key.replace('_', ' ').capitalize()}: {shown}")
    return "## What goes in and what comes out\n\n" + "\n".join(lines)


def _kind(most: int | None) -> str:
    return "float32" if most is None else f"int64 from 0 to {most - 1:,}"


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(['batch', *map(str, shape)])})"


def _module(winner: Winner, name: str, deployed: Deployed) -> Iterator[str]:
    """What a module takes and gives, where that is not what the signature says."""
    source = "`model.py`, " if winner.blueprint and deployed.module is winner.network else ""
    pairs = zip(deployed.inputs, deployed.examples, strict=True)
    inputs = ", ".join(f"`{one}` {_shape(tuple(example.shape[1:]))}" for one, example in pairs)
    yield f"- {source}`{name}.onnx`, `{name}.pt2`: from {inputs} to {', '.join(f'`{one}`' for one in deployed.outputs)}"


def _numbers(values: Json) -> str:
    return "[" + ", ".join(f"{float(value):.6g}" for value in values) + "]"


def _scores(winner: Winner) -> str:
    metrics, costs = winner.metrics, winner.costs
    parameters = sum(p.numel() for p in winner.network.parameters() if p.requires_grad)
    main, *others = (one.metric for one in winner.task.objectives)
    if f"test_{main}" in metrics:
        value = score(main, metrics[f"test_{main}"])
        if "test_correct" in metrics:
            value += f" ({metrics['test_correct']:.0f} of {metrics['test_total']:.0f})"
        when = "this training" if "mode" in winner.training else "the search"
        rows = [(_title("test", main), f"{value}; the test set was read once, after {when}")]
    else:
        rows = [(_title("test", main), "not measured: this trial was not chosen for the test")]
    rows += [(_title("test", o), score(o, metrics[f"test_{o}"])) for o in others if f"test_{o}" in metrics]
    rows += [(_title("validation", name), score(name, metrics[name])) for name in (main, *others) if name in metrics]
    if winner.task.measured:
        part = "test_" if f"test_{main}" in metrics else ""
        said = [(o, scale(metrics, f"{part}{o}")) for o in (main, *others)]
        rows += [(f"{_title('', o)}, {beside}", metric(value)) for o, found in said for beside, value in found.items()]
    rows.append(("Parameters", f"{parameters:,}"))
    if winner.description is not None:
        rows.append(("Multiply-adds", f"{winner.description.multiply_adds:,} per example"))
    if "latency" in metrics:
        rows.append(("Latency", f"{metrics['latency'] * 1000:.3g} ms for one example, where it was trained"))
    if (result := winner.record.result) is not None:
        device = f" on {result.device}" if result.device else ""
        rows.append(("Its own training", f"{result.epochs} epochs, {duration(result.seconds)}{device}"))
    if costs:
        rows.append(
            (
                "The whole search",
                f"{count(costs['trials'])} trials, {count(costs['epochs'])} epochs, "
                f"{duration(costs['device_seconds'])} of device time",
            )
        )
    text = "## What it scores, what it cost\n\n| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)
    return f"{text}\n\n{winner.task.measured}".rstrip()


def _title(part: str, name: str) -> str:
    return f"{part} {name.replace('_', ' ')}".strip().capitalize()


def _proof(folder: Path) -> str:
    """What `parity.json` says, in a sentence per form."""
    file = folder / "parity.json"
    if not file.is_file():
        return ""
    record = json.loads(file.read_text(encoding="utf-8"))
    lines = []
    for form, batches in record["forms"].items():
        worst = [found["relative"] for found in batches.values() if isinstance(found, Mapping)]
        said = f"relative difference at most {max(worst):.1e}" if worst else next(iter(batches.values()), "not checked")
        lines.append(f"- `{form}`: {said}")
    test = record.get("test", {})
    if test.get("checked"):
        lines.append(
            f"- `model.py` predicts {test['recomputed']} of {test['total']} test examples correctly; "
            f"the search counted {test['recorded']}"
        )
    return f"## Equal to the searched model\n\nReference: {record['reference']}.\n\n" + "\n".join(lines)


def _files(folder: Path, missing: Mapping[str, str]) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    known = {
        **{name: f"a drawing of `{name[:-4]}`" for name in names if name.endswith(".svg")},
        **{name: f"`{name[:-5]}` for onnxruntime, any batch size" for name in names if name.endswith(".onnx")},
        **{
            name: f"`{name[:-4]}` as `torch.export` writes it, any batch size"
            for name in names
            if name.endswith(".pt2")
        },
        **FILES,
    }
    lines = [f"- `{name}`" + (f": {known[name]}" if name in known else "") for name in names]
    lines += [f"- no `{FORMS.get(name, name)}`: {reason}" for name, reason in missing.items()]
    return "## Files\n\n" + "\n".join(lines)


def _made(winner: Winner, folder: Path) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in winner.versions.items())
    source = (
        "The source in `model.py` is taken from Cellwright, which is licensed under Apache-2.0: keep this notice when "
        "you pass it on. "
    )
    return (
        f"## How it was made\n\nSeed {winner.record.trial.seed} of search `{winner.search}`.{_workers(winner)} "
        f"Versions: {versions}.\n\n"
        f"The weights are yours. {source if (folder / 'model.py').is_file() else ''}"
        "The data that it was trained on have a licence of their own."
    )


def _workers(winner: Winner) -> str:
    """How several workers trained it, where they did."""
    said = winner.training
    if "mode" not in said:
        return ""
    missed = sum(int(stale) * pushes for stale, pushes in said["staleness"].items())
    mean = missed / max(1, sum(said["staleness"].values()))
    return (
        f" `nas train` trained it from {said['start']}: {said['workers']} workers, mode {said['mode']}, "
        f"{count(said['pushes'])} gradients, each of {mean:.2g} updates ago on average; batch norm's statistics were "
        "computed afterwards, from training data."
    )
