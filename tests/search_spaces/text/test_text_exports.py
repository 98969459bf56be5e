"""What a search hands over: every unit as an ONNX file for any batch size."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from search_spaces.space import Signature
from search_spaces.text.hierarchical_attention import HierarchicalAttentionSpace
from search_spaces.text.rcnn import RcnnSpace


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch and onnxscript about themselves
@pytest.mark.parametrize(
    ("space", "unit"), [(RcnnSpace, "gru"), (RcnnSpace, "lstm"), (HierarchicalAttentionSpace, "gru")]
)
def test_it_answers_alike_in_onnxruntime(
    space: type[RcnnSpace] | type[HierarchicalAttentionSpace], unit: str, tmp_path: Path
) -> None:
    import onnxruntime

    made, shape = space(units=(unit,)), (7,) if space is RcnnSpace else (3, 7)
    signature = Signature("text_classification", {"tokens": shape}, {"logits": (4,)}, {"tokens": 30})
    torch.manual_seed(0)
    network = made.build(made.decisions.sample(Random(0)), signature).eval()
    tokens = torch.randint(1, 30, (3, *shape), generator=torch.Generator().manual_seed(0))
    tokens[1, ..., 4:] = 0
    tokens[2] = 0
    program = torch.onnx.export(
        *(network, (tokens[:2],)),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=["tokens"],
        output_names=["logits"],
    )
    assert program is not None
    program.save(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (found,) = session.run(None, {"tokens": tokens[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(found), network(tokens[:count]).detach())
