"""Devices are named as their makers name them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from workers.device import device_name, processor
from workers.objectives import Outcome
from workers.trial import Result


def test_a_processor_is_named_by_the_kernel_else_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD  EPYC 9654\nmodel name\t: another\n")
    assert processor(tmp_path / "cpuinfo") == "AMD EPYC 9654"
    assert processor(tmp_path / "missing")


def test_a_gpu_is_named_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.type}")
    assert device_name("auto") == "card cuda"
    assert device_name("cpu").startswith("CPU (")


def test_the_device_travels_with_a_result() -> None:
    result = Result(1, 1, Outcome.COMPLETED, device="NVIDIA H200")
    assert Result.from_json(result.json()) == result
    assert "device" not in Result(1, 1, Outcome.COMPLETED).json()
