"""parity.json: how far the exported forms are from what the search process itself computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

from nas.exporter import Exporter, Winner
from nas.exporters.pt2 import first_line
from nas.standalone.literal import compact
from nas.standalone.running import run
from workers.errors import UserError
from workers.task import Deployed, State
from workers.trial import Json, Trial

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-4  # relative to the largest logit
BATCHES = (1, 3)
Answer: TypeAlias = "Callable[[list[Tensor]], list[Tensor]]"


@final
class ParityExporter(Exporter):
    """Writes `parity.json`; raises UserError where a form answers differently, since it must not be handed over."""

    after = ("source", "safetensors", "onnx", "pt2")

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        record = parity(winner, folder)
        (folder / "parity.json").write_text(compact(record) + "\n", encoding="utf-8")
        for form, batches in record["forms"].items():
            for name, found in batches.items():
                if isinstance(found, Mapping) and not found["relative"] <= TOLERANCE:
                    raise UserError(
                        f"{form} gives other outputs than the searched model ({name}: relative difference "
                        f"{found['relative']:.2g}, allowed is {TOLERANCE}): leave that format out, and report it"
                    )


def parity(winner: Winner, folder: Path) -> dict[str, Json]:
    """Differences per exported form and batch size, and the correct test predictions, recorded and recomputed."""
    inputs, outputs, origin = references(winner)
    record: dict[str, Json] = {"tolerance": TOLERANCE, "reference": origin, "examples": len(inputs[0]) if inputs else 0}
    record["forms"] = {}
    for place, (name, deployed) in enumerate(winner.deployed.items()):
        right = (inputs, outputs) if place == 0 else _answered(deployed)
        for form, answer in _converted(name, folder).items():
            record["forms"][form] = _compared(answer, *right)
    if (folder / "model.py").is_file() and (folder / "weights.safetensors").is_file():
        whole = winner.main.module is winner.network
        right = (inputs, outputs) if whole else _answered(_sourced(winner))
        record["forms"] = {"model.py": _compared(_source(folder), *right), **record["forms"]}
        if winner.network is winner.model and (found := _predictions(winner, folder)):
            record["test"] = found
    return record


def references(winner: Winner) -> tuple[list[Tensor], list[Tensor], str]:
    """Inputs, the outputs that are right for them, and where these come from."""
    if winner.examples:
        return winner.shared("input/"), winner.shared("output/"), "stored by the process that tested the model"
    return *_answered(winner.main), "the searched model, now: no process stored any outputs"


def _answered(deployed: Deployed) -> tuple[list[Tensor], list[Tensor]]:
    """The module's example inputs, and what it answers now."""
    import torch

    with torch.no_grad():
        found = deployed.module.eval()(*deployed.examples)
    return list(deployed.examples), _listed(found)


def _sourced(winner: Winner) -> Deployed:
    """The network whose source is handed over, where other modules are deployed than itself: on noise."""
    import torch

    from search_spaces.inputs import noise

    signature = winner.task.signature
    examples = noise(signature, 2, torch.Generator().manual_seed(0))
    return Deployed(winner.network, examples, tuple(signature.inputs), tuple(signature.outputs))


def _source(folder: Path) -> Answer:
    return lambda inputs: _listed(loaded(folder)(*inputs))


def _converted(name: str, folder: Path) -> dict[str, Answer]:
    """How each converted form of module `name` answers; it is read when first asked."""
    found: dict[str, Answer] = {}
    if (folder / f"{name}.pt2").is_file():
        found[f"{name}.pt2"] = lambda inputs: _pt2(folder / f"{name}.pt2", inputs)
    if (folder / f"{name}.onnx").is_file():
        found[f"{name}.onnx"] = lambda inputs: _onnx(folder / f"{name}.onnx", inputs)
    return found


def loaded(folder: Path) -> nn.Module:
    """The network that the folder's `model.py` loads."""
    file = folder / "model.py"
    network: nn.Module = run(file.read_text(encoding="utf-8"), str(file)).load()
    return network


def _compared(answer: Answer, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Json]:
    import torch

    compared: dict[str, Json] = {}
    for size in BATCHES:
        if len(inputs[0]) < size:
            inputs = [torch.cat([tensor] * size) for tensor in inputs]
            outputs = [torch.cat([tensor] * size) for tensor in outputs]
        try:
            with torch.no_grad():
                found = answer([tensor[:size] for tensor in inputs])
        except ModuleNotFoundError as error:
            compared[f"batch {size}"] = f"not checked: {error.name} is not installed (pip install {error.name})"
            continue
        compared[f"batch {size}"] = difference(found, [tensor[:size] for tensor in outputs])
    return compared


def difference(found: Sequence[Tensor], right: Sequence[Tensor]) -> dict[str, float]:
    """The largest absolute difference, and the same relative to the largest right value of each output."""
    absolute = relative = 0.0
    for one, other in zip(found, right, strict=True):
        if one.shape != other.shape:
            return {"absolute": float("inf"), "relative": float("inf")}
        one, other = one.detach().double(), other.detach().double()
        apart, size = float((one - other).abs().max()), max(float(other.abs().max()), 1e-12)
        apart = apart if apart == apart else float("inf")
        absolute, relative = max(absolute, apart), max(relative, apart / size)
    return {"absolute": absolute, "relative": relative}


def _pt2(file: Path, inputs: list[Tensor]) -> list[Tensor]:
    import torch

    return _listed(torch.export.load(file).module()(*inputs))


def _onnx(file: Path, inputs: list[Tensor]) -> list[Tensor]:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    return [torch.from_numpy(array) for array in found]


def _listed(found: Any) -> list[Tensor]:
    if isinstance(found, Mapping):
        return list(found.values())
    return list(found) if isinstance(found, tuple | list) else [found]


def _predictions(winner: Winner, folder: Path) -> dict[str, Json]:
    """The correct predictions on the test set of the tested winner: as recorded, and by the exported network.

    Nothing where the task's test does not count any.
    """
    if not any(name.startswith("test_") for name in winner.metrics):
        return {
            "checked": False,
            "reason": "this trial was never tested, and an export does not read the test set first",
        }
    if "test_correct" not in winner.metrics:
        return {}
    recorded = {name: int(winner.metrics[f"test_{name}"]) for name in ("correct", "total")}
    try:
        network = loaded(folder)
        tensors = {f"model/{name}": tensor for name, tensor in network.state_dict().items()}
        trial = Trial(winner.record.trial.id, winner.candidate, epochs=0, seed=winner.record.trial.seed, split="test")
        epochs = list(winner.task.train(network, trial, State(winner.state.epoch, tensors, winner.state.record)))
        recomputed = int(epochs[-1].metrics["test_correct"])
    except Exception as error:
        return {
            "checked": False,
            "reason": f"the test set could not be read: {first_line(error)}",
            "recorded": recorded,
        }
    return {"checked": True, "recorded": recorded["correct"], "recomputed": recomputed, "total": recorded["total"]}
