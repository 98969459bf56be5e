"""Inlining: what comes out runs without the modules it came from, and holds no more than is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.exporters.source import model_source
from nas.standalone.inline import inline
from nas.standalone.literal import compact, literal
from nas.standalone.module import InlineError
from nas.standalone.running import run
from search_spaces.space import Blueprint

SHAPES = '''
"""Shapes."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

SCALE = math.sqrt(4.0)


def _pad(size: int) -> int:
    # a reason that must survive
    return size // 2


@dataclass(frozen=True)
class Size:
    """A size."""

    width: int = int(SCALE)

    def doubled(self) -> Size:
        return Size(2 * self.width)


class Unused(nn.Module):
    """Nobody needs this."""
'''
LAYERS = '''
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from PACKAGE import shapes
from PACKAGE.shapes import Size as Extent


def _pad(size: int) -> int:
    return size * 10


class Wide(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(shapes.torch.ones(size + shapes._pad(2)))
        self.extra = _pad(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x * self.weight) + self.extra


class Narrow(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, Extent().doubled().width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Third(nn.Identity):
    """Rarely chosen."""


LAYERS = {
    "wide": Wide,
    "narrow": lambda size: Narrow(size),
    "third": Third,
}
'''
NETWORK = '''
from __future__ import annotations

from typing import final

from torch import Tensor, nn

from PACKAGE.layers import LAYERS


class Base(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@final
class Network(Base):
    """The network."""

    def __init__(self, names: list[str], size: int = 3) -> None:
        super().__init__()
        LAYERS_of = [LAYERS[name](size) for name in names]
        self.layers = nn.Sequential(*LAYERS_of)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package of three modules with aliases, equal names and a table, on the path; its name."""
    name = f"inlined_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for module, source in (("shapes", SHAPES), ("layers", LAYERS), ("network", NETWORK)):
        source = source.replace("shapes.torch.ones", "F.torch.ones")
        (folder / f"{module}.py").write_text(source.lstrip().replace("PACKAGE", name))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def blueprint(package: str, *names: str) -> Blueprint:
    return Blueprint(f"{package}.network:Network", {"names": list(names), "size": 3})


@pytest.mark.parametrize(("names", "size"), [(("wide",), 4), (("narrow",), 3), (("third", "narrow"), 3)])
def test_the_file_gives_what_the_package_gives(package: str, names: tuple[str, ...], size: int) -> None:
    plan = blueprint(package, *names)
    original = plan.build()
    for weight in original.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))
    built = run(model_source(plan, "A test.")).build()
    built.load_state_dict(original.state_dict())
    x = torch.randn(5, size, generator=torch.Generator().manual_seed(2))
    assert torch.equal(built(x), original(x))


def test_it_runs_where_the_package_cannot_be_imported(package: str, tmp_path: Path) -> None:
    source = model_source(blueprint(package, "narrow"), "A test.")
    file = tmp_path / "elsewhere" / "model.py"
    file.parent.mkdir()
    file.write_text(source)
    blocked = (
        "import sys\n"
        f"for name in ('search_spaces', 'workers', 'nas', {package!r}):\n    sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(file.parent)!r})\nimport model\n"
        "print(sum(p.numel() for p in model.build().parameters()))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", blocked], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(3 * 4 + 4), done.stderr


def test_only_what_is_used_comes_along_with_its_comments(package: str) -> None:
    found = inline([f"{package}.network:Network"], ["narrow"])
    assert "class Narrow" in found.code
    assert "class Size" in found.code
    for unused in ("Unused", "Third", "Wide", "_pad", '"wide"'):
        assert unused not in found.code
    whole = inline([f"{package}.network:Network"], ["narrow", "wide"])
    assert "# a reason that must survive" in whole.code
    assert "Third" not in whole.code


def test_equal_names_of_two_modules_are_told_apart(package: str) -> None:
    code = inline([f"{package}.network:Network"], ["wide"]).code
    assert code.count("def _pad") == 2
    assert "_pad_of_" in code


def test_imports_are_merged_and_sorted(package: str) -> None:
    found = inline([f"{package}.network:Network"], ["wide", "narrow"])
    assert found.imports.splitlines() == [
        "import math",
        "from dataclasses import dataclass",
        "from typing import final",
        "",
        "import torch.nn.functional as F",
        "from torch import Tensor, nn",
    ]


def test_a_table_that_is_used_in_other_ways_stays_whole(package: str, tmp_path: Path) -> None:
    layers = tmp_path / package / "layers.py"
    layers.write_text(layers.read_text() + "\nCOUNT = len(LAYERS)\n")
    network = tmp_path / package / "network.py"
    network.write_text(
        network.read_text().replace("import LAYERS", "import COUNT, LAYERS") + "\n        self.count = COUNT\n"
    )
    code = inline([f"{package}.network:Network"], ["narrow"]).code
    assert "Third" in code


def test_a_computed_key_keeps_the_table_whole(package: str, tmp_path: Path) -> None:
    network = tmp_path / package / "network.py"
    network.write_text(network.read_text().replace("LAYERS[name]", 'LAYERS["nar" + "row"]'))
    built = run(model_source(blueprint(package, "x"), "A test.")).build()
    assert built(torch.zeros(1, 3)).shape == (1, 4)


def test_pruning_that_breaks_the_network_is_undone(package: str, tmp_path: Path) -> None:
    network = tmp_path / package / "network.py"
    network.write_text(
        network.read_text()
        .replace("names: list", "names: list")
        .replace("for name in names]", "for name in map(str.lower, names)]")
    )
    built = run(model_source(blueprint(package, "NARROW"), "A test.")).build()
    assert built(torch.zeros(1, 3)).shape == (1, 4)


def test_a_foreign_import_is_named(package: str, tmp_path: Path) -> None:
    layers = tmp_path / package / "layers.py"
    layers.write_text(layers.read_text().replace("import torch.nn.functional as F", "import numpy as F"))
    with pytest.raises(InlineError, match="imports numpy, which an export does not bring"):
        inline([f"{package}.network:Network"], ["wide"])


def test_a_class_of_torch_is_imported() -> None:
    source = model_source(Blueprint("torch.nn:Linear", {"in_features": 2, "out_features": 3}), "A test.")
    assert "from torch.nn import Linear" in source
    assert run(source).build().out_features == 3


def test_an_activation_comes_along() -> None:
    arguments = {"image": [1, 8, 8], "classes": 2, "stem": {"kind": "cifar", "filters": 4}, "layout": [], "cells": {}}
    arguments["options"] = {"code": "tensorflow", "epsilon": 1e-5, "drop_path": 0.0, "dropout": 0.0, "auxiliary": None}
    plan = Blueprint("search_spaces.cnn.cell_network:CellNetwork", arguments, "gelu")
    source = model_source(plan, "A test.")
    assert 'replace_relu(network, "gelu")' in source
    assert '"silu"' not in source
    assert run(source).build().state_dict().keys() == plan.build().state_dict().keys()


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, True], "b": {"c": 'x"y\\'}}, [], {}, [[0] * 60, "é"] * 3, -1e-5]
)
def test_arguments_are_written_as_python(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value
    assert json.loads(compact(value)) == value
    assert max(map(len, literal([value] * 9).splitlines())) <= 120
