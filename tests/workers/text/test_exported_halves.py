"""The halves of a network that writes texts, as torch and ONNX export them, write what the network writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pair_networks import CPU, model_of, task_of
from torch.nn import functional

from search_spaces.decisions import Candidate
from workers.text.pair_batches import tensors_of
from workers.text.pair_data import BEGUN


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch about itself
@pytest.mark.parametrize(
    ("unit", "attention"), [("lstm", "additive"), ("gru", "none"), ("rnn", "general"), ("gru", "general")]
)
def test_the_exported_halves_write_what_the_network_writes(unit: str, attention: str) -> None:
    from nas.exporters.pt2 import free_batch

    task = task_of()
    model = model_of(task, unit=[unit], attention=[attention], bidirectional=[True], pointer=[attention == "general"])
    deployed = task.deployable(model, Candidate({}))
    programs = {
        name: torch.export.export(one.module, one.examples, dynamic_shapes=free_batch(one)).module()
        for name, one in deployed.items()
    }
    sources = tensors_of(task.pairs, "test").take(range(5), CPU).source
    source = functional.pad(sources, (0, task.signature.inputs["source"][0] - sources.shape[1]))
    with torch.no_grad():
        carried, last = programs["encoder"](source), torch.full((5,), BEGUN)
        fixed = carried[model.state_count :]
        found = []
        for _ in range(4):
            read = (source,) if fixed else ()
            logits, *state = programs["step"](last, *read, *carried)
            found.append(logits)
            carried, last = (*state, *fixed), logits.argmax(1)
        right = model(source, torch.stack([torch.full((5,), BEGUN), *(one.argmax(1) for one in found[:-1])], 1))
    torch.testing.assert_close(torch.stack(found, 1), right)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch about itself
@pytest.mark.parametrize(("unit", "attention"), [("gru", "additive"), ("lstm", "none")])
def test_the_halves_survive_onnx(unit: str, attention: str, tmp_path: Path) -> None:
    import onnxruntime

    from nas.exporters.onnx import _silence
    from nas.exporters.pt2 import free_batch

    task = task_of()
    model = model_of(task, unit=[unit], attention=[attention], bidirectional=[True], pointer=[attention != "none"])
    for name, one in task.deployable(model, Candidate({})).items():
        with _silence():
            program = torch.onnx.export(
                *(one.module, one.examples),
                dynamo=True,
                verbose=False,
                dynamic_shapes=free_batch(one),
                input_names=list(one.inputs),
                output_names=list(one.outputs),
            )
            assert program is not None
            program.save(tmp_path / f"{name}.onnx")
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for batch in (1, 2):
            given = [tensor[:batch] for tensor in one.examples]
            named = {key: tensor.numpy() for key, tensor in zip(one.inputs, given, strict=True)}
            with torch.no_grad():
                right = one.module(*given)
            for found, expected in zip(session.run(None, named), right, strict=True):
                torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)
