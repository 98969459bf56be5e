"""Nothing that comes from a file, a socket or a job is ever run: no pickle, no `eval`, no unsafe loader, no shell."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.jobfile.document import parse
from nas.log import Snapshot
from workers.errors import UserError

ROOT = Path(__file__).parents[2]
PACKAGES = ("nas", "workers", "search_spaces", "parameter_server")
UNPICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "_pickle"}
ALLOWED = {  # what stands behind each is in docs/design.md and SECURITY.md
    ("nas/standalone/running.py", "exec"),  # a source that `inline` has just written from installed code
}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def dotted(node: ast.expr) -> str:
    """`torch.load` of the expression that is called; empty for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def keyword(call: ast.Call, name: str) -> Any:
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def dangerous(call: ast.Call) -> str:
    """The name of what is called, where that could run data; else empty."""
    name = dotted(call.func)
    found = (
        name in ("eval", "exec", "__import__", "os.system", "os.popen"),
        name == "torch.load" and keyword(call, "weights_only") != "True",
        name.endswith("np.load") and keyword(call, "allow_pickle") != "False",
        name in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
        name == "yaml.load" and [ast.unparse(one) for one in call.args[1:]] != ["_Loader"],
        keyword(call, "shell") == "True",
        keyword(call, "verify") == "False",
    )
    return name if any(found) else ""


def dangers(tree: ast.AST) -> Iterator[str]:
    """What in a module could run data as code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in UNPICKLERS:
                yield node.module
        elif isinstance(node, ast.Call) and (danger := dangerous(node)):
            yield danger


@pytest.mark.parametrize("package", PACKAGES)
def test_no_source_can_run_data(package: str) -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in sources()
        if path.is_relative_to(ROOT / package)
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "subprocess.run(text, shell=True)",
        "requests.get(url, verify=False)",
        "os.system(text)",
    ],
)
def test_what_could_run_data_is_found(source: str) -> None:
    assert list(dangers(ast.parse(source)))


def test_the_loader_of_jobs_makes_plain_values_only() -> None:
    import yaml

    from nas.jobfile import document

    assert issubclass(document._Loader, yaml.SafeLoader)
    for text in ("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/module:os"):
        with pytest.raises(UserError):
            parse(f"name: {text}")


class Bomb:
    """Goes off where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_refused_wherever_bytes_come_from_outside(tmp_path: Path) -> None:
    from nas.home import open_log
    from nas.summary import overview
    from workers.checkpoint import load
    from workers.errors import DamagedError

    bomb = pickle.dumps(Bomb())
    with pytest.raises(DamagedError):
        load(bomb)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "journal.sqlite").write_bytes(bomb)
    log = open_log(str(tmp_path))
    (header,) = log.searches()
    assert overview(header)["state"] == "damaged"
    log.close()
    log = open_log(str(tmp_path / "other"))
    log.create("try", {}, {})
    log.keep("try", log.acquire("try"), Snapshot("standing", 1, "0", bomb))
    assert log.snapshot("try", "standing") == Snapshot("standing", 1, "0", bomb)  # handed on as bytes, never read
    log.close()
