"""Export: hand a search's winner over as a folder that stands alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from nas.architecture import FILE, FORMAT
from nas.exporter import FOLDER, Exporter, LeftOut, SearchExporter, Winner
from nas.exporters.readme import FILES
from nas.jobfile.plugins import beside
from nas.log import Log
from nas.winner import find_winner
from workers.errors import UserError
from workers.plugins import available, load

ALWAYS = ("architecture",)  # by which a later export recognises the folder


def export(
    log: Log, search: str, folder: str | Path, trial: int | None = None, formats: Collection[str] | None = None
) -> Path:
    """Write the winner of `search` (or any `trial` whose checkpoint is kept) to `folder`, and return it.

    `formats` are names of exporters, by default all that there are; one that this network cannot have is left out,
    and README.md says why. The files of an earlier export are replaced, others beside them are kept; any other folder
    that is not empty is refused. The folder appears whole or not at all.
    """
    target = Path(folder).expanduser().absolute()
    exporters = chosen(formats)
    refuse_occupied(target)
    winner = find_winner(log, search, trial)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            fresh = Path(temporary, "new")
            fresh.mkdir()
            with beside(str(winner.job.get("folder") or "")):
                write(winner, fresh, exporters)
            replace_folder(target, fresh, Path(temporary, "old"))
    except OSError as error:
        raise UserError(f"the export cannot be written to {target}: {error.strerror or error}") from error
    return target


def chosen(formats: Collection[str] | None = None) -> dict[str, Exporter]:
    """The exporters with these names, each after those whose files it reads; a wrong name lists the right ones."""
    names = [*ALWAYS, *(available(FOLDER, Exporter) if formats is None else formats)]
    found: dict[str, Exporter] = {name: load(FOLDER, name, Exporter)() for name in dict.fromkeys(names)}
    order = TopologicalSorter({name: set(one.after) & set(found) for name, one in sorted(found.items())})
    return {name: found[name] for name in order.static_order()}


def whole(formats: Collection[str] | None, trial: int | None = None) -> SearchExporter | None:
    """The exporter of a whole search that `formats` names; None where they are of its winner, or none is named."""
    named = set(formats) & set(available(FOLDER, SearchExporter)) if formats else set()
    if not formats or not named:
        return None
    if len(set(formats)) > 1 or trial is not None:
        name = min(named)
        raise UserError(f"the format {name} is of a whole search: give --format {name} alone, and no --trial")
    exporter: SearchExporter = load(FOLDER, named.pop(), SearchExporter)()
    return exporter


def write(winner: Winner, folder: Path, exporters: Mapping[str, Exporter]) -> dict[str, str]:
    """Write every format into `folder`; the formats that were left out, and why."""
    missing: dict[str, str] = {}
    for name, exporter in exporters.items():
        try:
            exporter.export(winner, folder, missing)
        except LeftOut as reason:
            missing[name] = str(reason)
    return missing


def refuse_occupied(target: Path) -> None:
    """Raise UserError where `target` holds anything that no export wrote."""
    if target.is_dir():
        if any(target.iterdir()) and not _is_export(target):
            raise UserError(f"{target} is not empty and no earlier export: name another folder, or empty that one")
    elif target.exists() or target.is_symlink():
        raise UserError(f"{target} is a file, but an export is a folder: name another one")


def _is_export(folder: Path) -> bool:
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def replace_folder(target: Path, fresh: Path, old: Path) -> None:
    """Put `fresh` where `target` is; an earlier export goes to `old`, and comes back should the second step fail."""
    fresh.chmod(0o755)  # the temporary folder around it is private
    if not target.exists():
        fresh.rename(target)
        return
    target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        old.rename(target)
        raise
    for path in old.iterdir():
        if not _exported(path.name) and not (target / path.name).exists():
            path.rename(target / path.name)
    shutil.rmtree(old, ignore_errors=True)


def _exported(name: str) -> bool:
    """Whether an export, or the use of one, leaves a file of this name."""
    return name in (*FILES, "README.md", "__pycache__") or name.endswith((".svg", ".onnx", ".pt2"))
