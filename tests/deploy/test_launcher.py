"""The files for Ray's cluster launcher: by Ray's own schema and its own check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
from deployment import DEPLOY, ROOT, documents
from jsonschema import Draft7Validator

FILES = sorted((DEPLOY / "launcher").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ray_takes_it(path: Path) -> None:
    (config,) = documents(path)
    described: dict[str, Any] = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    assert [error.message for error in Draft7Validator(described).iter_errors(config)] == []
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_it_names_is_there(path: Path) -> None:
    (config,) = documents(path)
    assert config["head_node_type"] in config["available_node_types"]
    made = (DEPLOY / "secrets.sh").read_text()
    for source in config["file_mounts"].values():
        assert (ROOT / source).exists() or Path(source).name in made
    options = " ".join(config["docker"]["run_options"])
    assert "RAY_AUTH_MODE=token" in options
    (mounted,) = config["file_mounts"]
    assert f"RAY_AUTH_TOKEN_PATH={mounted}" in options
    starts = [one for key in ("head", "worker") for one in config[f"{key}_start_ray_commands"] if "ray start" in one]
    assert len(starts) == 2
    assert all("--disable-usage-stats" in one for one in starts)
