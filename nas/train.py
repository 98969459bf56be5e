"""Train: the network of an export trained anew by several workers, and exported again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, final

from nas.architecture import Architecture, read_architecture
from nas.export import chosen, refuse_occupied, replace_folder, write
from nas.exporter import Winner
from nas.jobfile.document import Document
from nas.jobfile.mistakes import refuse
from nas.jobfile.plugins import beside, check_plugins
from nas.trained import winner_of
from workers.data_parallel.parallel_training import Mode, ParallelTraining
from workers.data_parallel.tally import Tally
from workers.errors import DivergedError, NotFoundError, UserError
from workers.plugins import Spec
from workers.setup import Setup
from workers.task import State
from workers.trial import Json, Trial
from workers.workshop import space_of, task_of

WORK = "training"  # the folder, inside that of the export to be, from which an interrupted training goes on
WEIGHTS = "weights.safetensors"


@final
@dataclass(frozen=True)
class Wanted:
    """How to train. `epochs` and `seed` are the export's where they are None, `data` is where its data set is now.

    `settings` are options of the task, laid over those of the export; `carry_on` begins with its weights.
    """

    workers: int = 4
    mode: str = "async"
    staleness: int = 3
    backup: int = 0
    shards: int = 2
    epochs: int | None = None
    seed: int | None = None
    data: str | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    carry_on: bool = False


def train(source: Path, target: Path, wanted: Wanted, report: Callable[[Tally], None]) -> Winner:
    """Train the network of the export `source` and write the same kind of folder to `target`; gives what is in it.

    A training that was interrupted, even by the death of everything, goes on where it was when it is asked for again.
    Raises `UserError` for what cannot be trained so, and where other settings were begun with.
    """
    source, target = source.expanduser().absolute(), target.expanduser().absolute()
    architecture = read_architecture(source)
    with beside(str(Path.cwd())):
        training = planned(architecture, wanted)
        work = target / WORK
        _refuse(source, target, work)
        try:
            winner = _trained(architecture, training, source if wanted.carry_on else None, work, report)
        except DivergedError as error:
            raise UserError(f"the training diverged: {error} (--set learning_rate=...)") from error
        _export(winner, target)
    shutil.rmtree(work)
    return winner


def planned(architecture: Architecture, wanted: Wanted) -> ParallelTraining:
    """What is trained, how, and by whom."""
    if architecture.space is None:
        raise UserError("the export has no search space, so there is no network to train")
    task = Spec(architecture.task.name, {**architecture.task.options, **wanted.settings})
    if wanted.data is not None:
        task = Spec(task.name, {**task.options, _place(task): wanted.data})
    refuse(Document({}, "the training"), check_plugins({"task": task, "space": architecture.space}, ""))
    epochs = wanted.epochs or architecture.training.get("epochs") or task_of(task).epochs
    if epochs < 1:
        raise UserError(f"epochs is {epochs}, but must be 1 or more")
    slots = max(wanted.workers + wanted.backup, 1)
    threads = max(1, (os.cpu_count() or 1) // slots)
    folder = str(Path.cwd())
    setup = Setup(architecture.search, task, architecture.space, threads=threads, folder=folder)
    seed = architecture.seed if wanted.seed is None else wanted.seed
    trial = Trial(architecture.trial, architecture.candidate, epochs, epochs, seed=seed)
    mode = cast("Mode", wanted.mode)  # which is refused where it is another
    return ParallelTraining(setup, trial, wanted.workers, mode, wanted.staleness, wanted.backup, wanted.shards)


def _place(task: Spec) -> str:
    """The option that says where a task's data are: `dataset`, where that is a path, else `root`."""
    dataset = str(task.options.get("dataset", ""))
    return "dataset" if dataset.endswith(".npz") or "/" in dataset else "root"


def _refuse(source: Path, target: Path, work: Path) -> None:
    if target == source:
        raise UserError(f"{target} is the export itself: name another folder with --output")
    if work.is_dir():
        return
    refuse_occupied(target)
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target} is an export already: name another folder with --output, or remove that one")


def _trained(
    architecture: Architecture,
    training: ParallelTraining,
    weights: Path | None,
    work: Path,
    report: Callable[[Tally], None],
) -> Winner:
    from parameter_server.opened import open_store
    from workers.data_parallel.crew import Processes
    from workers.data_parallel.journal import Journal
    from workers.data_parallel.network import batches_of
    from workers.data_parallel.session import Session

    assert training.setup.space is not None
    space, task = space_of(training.setup.space), task_of(training.setup.task)
    task.prepare()
    batches = batches_of(training, space, task, _weights(weights))
    policy = training.policy(batches.recipe)
    _begin(work, training, begun_with=weights)
    with closing(Journal(work / "journal.jsonl")) as journal:
        place = work / "store"
        with (
            closing(open_store(place, policy, shards=training.shards)) as store,
            closing(Processes(training, place)) as crew,
        ):
            state, tally = Session(training, batches, store, journal).run(crew, report)
    start = "scratch" if weights is None else "the exported weights"
    return winner_of(architecture, training, space, task, (batches.model, state), (tally, start))


def _weights(folder: Path | None) -> State | None:
    from safetensors.torch import load_file

    if folder is None:
        return None
    file = folder / WEIGHTS
    if not file.is_file():
        raise NotFoundError(f"there is no {file}: leave out --continue, or export the network with its weights")
    return State(0, {f"model/{name}": tensor for name, tensor in load_file(file).items()})


def _begin(work: Path, training: ParallelTraining, begun_with: Path | None) -> None:
    """Write down what is trained, or see that it is what was begun."""
    record = {**training.json(), "weights": str(begun_with or "")}
    file = work / "training.json"
    work.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(record, indent=1), encoding="utf-8")
        fresh.rename(file)
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    for name, now in _settings(record).items():
        if (before := _settings(begun).get(name)) != now:
            raise UserError(
                f"{work.parent} holds a training that was begun with {name} {before}, not {now}: give the same "
                "command to go on with it, or name another folder with --output"
            )


def _settings(record: Mapping[str, Json]) -> dict[str, Json]:
    """What must not change while a training goes on, by names that people know."""
    top = {name: record[name] for name in ("workers", "mode", "staleness", "backup", "shards", "weights")}
    task, trial = record["setup"]["task"], record["trial"]
    return {**top, "task": task, "epochs": trial["epochs"], "seed": trial["seed"], "candidate": trial["candidate"]}


def _export(winner: Winner, target: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            fresh = Path(temporary, "new")
            fresh.mkdir()
            write(winner, fresh, chosen())
            replace_folder(target, fresh, Path(temporary, "old"))
    except OSError as error:
        raise UserError(f"the export cannot be written to {target}: {error.strerror or error}") from error
