"""What many tests need: the data set folder, and skips that `NAS_REQUIRE` turns into failures."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# Threads that wait for each other on busy cores cost more than they give: 0.5 s on one thread, 12 s on two (measured
# on two cores with other work, a forward pass of NASNet-A large). Set before torch is imported, for children too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=1000)
settings.load_profile("patient")

Require = Callable[[str, bool, str], None]


def _require(name: str, present: bool, reason: str) -> None:
    if present:
        return
    if name in os.environ.get("NAS_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required here (NAS_REQUIRE): {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(name, present, reason)`: skip with the reason unless present; fail where NAS_REQUIRE names it."""
    return _require


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets that the environment variable NAS_DATA names."""
    root = os.environ.get("NAS_DATA", "")
    _require("data", bool(root), "NAS_DATA is not set: it names the folder with the real data sets")
    return Path(root).resolve()


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data sets are cached during these tests, once for all of them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def _same_cluster() -> Iterator[None]:
    """No test leaves the address of its cluster behind, which all later ones would join; `monkeypatch` ends before."""
    before = os.environ.get("RAY_ADDRESS")
    yield
    assert os.environ.get("RAY_ADDRESS") == before, "the test leaves RAY_ADDRESS changed"


@pytest.fixture(autouse=True)
def _home(_same_cluster: None, tmp_path: Path, prepared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's searches and cached data."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NAS_CACHE", str(prepared_data))


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start, and torchvision and timm import where only torch is a CPU build.

    A shell that runs tests in the background has them ignore SIGINT, which all that they start would inherit.
    torchvision's compiled operators do not load with such a torch, and its import stumbles over their missing schemas;
    neither data sets nor timm's networks call any of them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if find_spec("torchvision") is not None:
        from workers.generation.metrics_library import declare_operators

        declare_operators()
