"""What this machine has and lacks for a search, each lack with its remedy."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas import machine
from nas.quantities import size

if TYPE_CHECKING:
    from nas.log import Header, Log

OURS = ("nas", "workers", "search_spaces")
GIB = 1 << 30


@final
class Level(StrEnum):
    """How bad it is: `broken` means that no search can run."""

    FINE = "fine"
    NOTE = "note"
    WARNING = "warning"
    BROKEN = "broken"


@final
@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what to do about it."""

    check: str
    level: Level
    found: str
    remedy: str = ""


def examine(place: str | None = None) -> Iterator[Finding]:
    """Every finding, one by one as it is made; `place` is where journals are kept."""
    yield python()
    yield from packages()
    yield from shadows([Path.cwd(), *map(Path, sys.path)])
    yield cores()
    yield memory()
    yield descriptors()
    yield shared_memory()
    yield torch()
    yield torchvision()
    yield ray()
    yield from journals(place)


def python() -> Finding:
    """The interpreter's version."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("python", Level.FINE, found)


def packages() -> Iterator[Finding]:
    """The distributions that ours requires, each there or not."""
    try:
        required = importlib.metadata.requires("cellwright") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("cellwright", Level.BROKEN, "not installed", "python -m pip install cellwright")
        return
    missing = [name for name in map(_distribution, required) if name and not _installed(name)]
    if missing:
        yield Finding("packages", Level.BROKEN, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", Level.FINE, f"cellwright {importlib.metadata.version('cellwright')}, nothing missing")


def shadows(paths: list[Path]) -> Iterator[Finding]:
    """Folders or modules on `paths` with the name of one of our packages, which Python may import in its stead."""
    home = Path(__file__).resolve().parent.parent
    found: dict[Path, str] = {}
    for folder in paths:
        for name in OURS:
            for one in (folder / name, folder / f"{name}.py"):
                if _importable(one) and one.resolve().parent != home:
                    found[one.resolve()] = name
    for one, name in found.items():
        remedy = f"rename it, or work in another folder: Python may take it for Cellwright's own package {name}"
        yield Finding("names", Level.WARNING, f"{one} has the name of a package of Cellwright", remedy)
    if not found:
        yield Finding("names", Level.FINE, f"nothing here is named {', '.join(OURS)} but ours")


def cores() -> Finding:
    """How much of the processor this process may use."""
    here, granted = machine.cores(), machine.cores_allowed()
    if granted is not None and granted < here:
        remedy = f"set pool.slots so that slots x threads is at most {max(1, int(granted))}"
        return Finding("cores", Level.NOTE, f"{here}, but the control group grants the time of {granted:g}", remedy)
    return Finding("cores", Level.FINE, str(here))


def memory() -> Finding:
    """Main memory, and what the control group grants of it."""
    known = machine.memory()
    if known is None:
        return Finding("memory", Level.NOTE, "this system does not say how much memory it has")
    total, available = known
    limit = machine.memory_allowed()
    found = f"{size(available)} of {size(total)} available"
    if limit is not None and limit < total:
        found += f", the control group grants {size(limit)}"
        available = min(available, limit)
    if available < 2 * GIB:
        return Finding(
            "memory", Level.WARNING, found, "a worker needs about 1 GiB: use one slot, or end other programs"
        )
    return Finding("memory", Level.FINE, found)


def descriptors() -> Finding:
    """How many files may be open at once."""
    limits = machine.descriptors()
    if limits is None or min(limits) < 0:
        return Finding("open files", Level.FINE, "no limit")
    soft, hard = limits
    if soft < 1024:
        remedy = f"ulimit -n {min(hard, 65536) if hard > 0 else 65536}"
        return Finding("open files", Level.WARNING, f"at most {soft}; Ray wants 1024 and more", remedy)
    return Finding("open files", Level.FINE, f"at most {soft}")


def shared_memory() -> Finding:
    """The size of `/dev/shm`."""
    total = machine.shared_memory()
    if total is None:
        return Finding("/dev/shm", Level.NOTE, "not there: Ray keeps its objects on the disk, which is slower")
    if total < GIB:
        remedy = "in a container: start it with --shm-size=2g"
        return Finding("/dev/shm", Level.WARNING, f"{size(total)}; Ray keeps its objects on the disk instead", remedy)
    return Finding("/dev/shm", Level.FINE, size(total))


def torch() -> Finding:
    """PyTorch, and the devices that it can use."""
    module, trouble = _import("torch")
    if module is None:
        return Finding("torch", Level.BROKEN, trouble, "pip install torch (a CPU build is smaller; see the README)")
    if module.cuda.is_available():
        names = [module.cuda.get_device_name(i) for i in range(module.cuda.device_count())]
        return Finding("torch", Level.FINE, f"{module.__version__}, {len(names)} GPU: {', '.join(names)}")
    if machine.nvidia_card():
        remedy = "install the build of torch for your driver's CUDA version, or a newer driver"
        build = f"built for CUDA {module.version.cuda}" if module.version.cuda else "a CPU build"
        return Finding("torch", Level.WARNING, f"{module.__version__} ({build}) does not see the NVIDIA card", remedy)
    return Finding("torch", Level.FINE, f"{module.__version__}, on the processor (no GPU here)")


def torchvision() -> Finding:
    """Whether torchvision is there and belongs to this torch; only its data sets need it."""
    if not _installed("torchvision"):
        remedy = 'pip install "cellwright[vision]", if you want MNIST, FashionMNIST, CIFAR or SVHN'
        return Finding("torchvision", Level.NOTE, "not installed", remedy)
    module, trouble = _import("torchvision")
    if module is None:
        remedy = "install torch and torchvision from the same place (both CPU builds, or both for CUDA)"
        return Finding("torchvision", Level.WARNING, f"does not fit this torch: {trouble}", remedy)
    return Finding("torchvision", Level.FINE, str(module.__version__))


def ray() -> Finding:
    """Whether Ray can be imported; the local pool does without."""
    module, trouble = _import("ray")
    if module is None:
        return Finding("ray", Level.WARNING, trouble, "pip install ray, or set `pool: local` in the job file")
    return Finding("ray", Level.FINE, str(module.__version__))


def journals(place: str | None) -> Iterator[Finding]:
    """Where journals are kept, and searches there whose driver died."""
    from nas.home import home

    where = home(place)
    if "://" not in where:
        folder = Path(where).expanduser()
        yield writable(folder)
        yield disk(folder)
        yield file_system(machine.file_system(folder), folder)
    yield from abandoned(where)


def writable(folder: Path) -> Finding:
    """Whether this user may write journals to `folder`."""
    try:
        with tempfile.TemporaryFile(dir=machine.existing(folder)):
            return Finding("journals", Level.FINE, f"{folder} can be written")
    except OSError as error:
        remedy = "set NAS_HOME, or --journal, to a folder of yours"
        return Finding("journals", Level.BROKEN, f"{folder} cannot be written: {error.strerror}", remedy)


def disk(folder: Path) -> Finding:
    """Room for journals and artifacts."""
    free = machine.free_disk(folder)
    found = f"{size(free)} free for {folder}"
    if free < GIB:
        level = Level.BROKEN if free < GIB // 16 else Level.WARNING
        return Finding("disk", level, found, "make room (`nas gc` removes what no search needs), or set NAS_HOME")
    return Finding("disk", Level.FINE, found)


def file_system(kind: str | None, folder: Path) -> Finding:
    """Whether SQLite's locks can be trusted where journals are kept."""
    if machine.over_network(kind):
        remedy = "keep journals on a local disk (NAS_HOME), or in PostgreSQL (--journal postgresql://...)"
        return Finding("file system", Level.BROKEN, f"{folder} is on {kind}, where SQLite loses data", remedy)
    return Finding("file system", Level.FINE, f"{folder} is on {kind or 'a local disk'}")


def abandoned(place: str) -> Iterator[Finding]:
    """Searches that say that they are running but have no driver, and journals that are not as they were written."""
    from nas.home import open_log

    try:
        with closing(open_log(place)) as log:
            known = log.searches()
            ill = [finding for header in known if (finding := _ill(header, log)) is not None]
    except Exception as error:
        yield Finding("searches", Level.BROKEN, str(error), "mend or move what the message names")
        return
    yield from ill
    if not ill:
        said = f"{len(known)}, none left by a dead driver, every entry as it was written"
        yield Finding("searches", Level.FINE, said)


def _ill(header: Header, log: Log) -> Finding | None:
    """What is wrong with a search, the worst first."""
    from nas.summary import state

    name, remedy, now = header.search, f"nas resume {header.search}", state(header)
    if now == "damaged":
        return Finding("searches", Level.WARNING, f"{name}: {header.reason}", f"{remedy} --force")
    if findings := log.findings(name):
        said = f"{name} is damaged: {findings[0]}"
        return Finding("searches", Level.WARNING, said, f"{remedy} says what can be saved")
    if now == "abandoned":
        return Finding("searches", Level.WARNING, f"{name} was running when its driver died", remedy)
    return None


def _distribution(requirement: str) -> str:
    """The name in `numpy>=1.26`; empty for what only an extra asks for."""
    if "extra ==" in requirement:
        return ""
    return re.split(r"[\s<>=!~;\[(]", requirement.strip(), maxsplit=1)[0]


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _importable(place: Path) -> bool:
    """Whether Python could import `place`: a module, or a folder with any Python in it (`__init__` or not)."""
    if place.is_dir():
        return next(place.glob("*.py"), None) is not None
    return place.suffix == ".py" and place.is_file()  # a file without is the command `nas` itself


def _import(name: str) -> tuple[Any, str]:
    try:
        return importlib.import_module(name), ""
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return None, f"cannot be imported: {lines[0]}"
