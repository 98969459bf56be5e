"""The command that trains one network with several workers: train."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

import typer

from nas.cli.exits import Exit
from nas.cli.options import AsJson, Quiet
from nas.quantities import score

if TYPE_CHECKING:
    from nas.exporter import Winner
    from workers.data_parallel.tally import Tally

OFTEN = 10.0  # seconds between two remarks within an epoch


def train(  # noqa: PLR0913 - the parameters of a command are its options
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="A folder from `nas export`.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", metavar="FOLDER", help="Where to; otherwise EXPORT-trained."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that learn at once.")] = 4,
    mode: Annotated[
        Literal["async", "sync", "bounded"],
        typer.Option(
            help="async: each gradient is a step; sync: their mean is; bounded: async, but nobody runs ahead."
        ),
    ] = "async",
    staleness: Annotated[
        int, typer.Option(min=0, metavar="S", help="bounded: the batches that a worker may be ahead of the slowest.")
    ] = 3,
    backup: Annotated[
        int, typer.Option(min=0, metavar="B", help="sync: workers more than a step waits for; the slowest come late.")
    ] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="E", help="How long; otherwise as the export.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Otherwise the export's.", show_default=False)] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the data set is, if it has moved.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change an option of the task, such as learning_rate=0.1."),
    ] = None,
    carry_on: Annotated[bool, typer.Option("--continue", help="Begin with the exported weights.")] = False,
    shards: Annotated[int, typer.Option(min=1, metavar="N", help="Shards of the store that has the parameters.")] = 2,
    quiet: Quiet = False,
    json: AsJson = False,
) -> None:
    """Train an exported network with several workers that share its parameters; writes an export.

    The same command goes on with a training that was interrupted. The test set is read once, at the end.
    """
    from nas.cli.output import pairs, remark, write_json
    from nas.cli.settings import nested
    from nas.train import Wanted, train

    target = folder or export.with_name(f"{export.resolve().name}-trained")
    settings = nested(changes or ())
    wanted = Wanted(workers, mode, staleness, backup, shards, epochs, seed, data, settings, carry_on)
    try:
        winner = train(export, target, wanted, _Watcher(quiet).see)
    except KeyboardInterrupt:
        remark("interrupted: the same command goes on from here")
        raise typer.Exit(Exit.INTERRUPTED) from None
    if json:
        write_json({"folder": str(target), **winner.metrics, **winner.training})
    else:
        pairs(_said(winner, target))


@final
class _Watcher:
    """Remarks on a training, once in a while."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._epochs, self._said = quiet, 0, time.monotonic()
        self._before: tuple[int, float] | None = None

    def see(self, tally: Tally) -> None:
        from nas.cli.output import remark

        done, now = len(tally.learned) // tally.per_epoch, time.monotonic()
        self._before = self._before or (tally.examples, tally.seconds)
        if self._quiet or (done == self._epochs and now - self._said < OFTEN):
            return
        examples, seconds = (new - old for new, old in zip((tally.examples, tally.seconds), self._before, strict=True))
        rate = f"{examples / seconds:,.0f} examples/s" if seconds else ""
        loss = tally.loss(done - 1) if done else None
        known = "" if loss is None else f"loss {loss:.4f}  "
        share = f"{len(tally.learned):,} of {tally.count:,} batches"
        remark(f"epoch {done} of {tally.count // tally.per_epoch}  {known}{share}  {rate}")
        self._epochs, self._said = done, now


def _said(winner: Winner, target: Path) -> dict[str, str]:
    metrics, training = winner.metrics, winner.training
    main = winner.task.objectives[0].metric
    share = score(main, metrics[f"test_{main}"]) if f"test_{main}" in metrics else "not measured"
    if "test_correct" in metrics:
        share += f" ({metrics['test_correct']:,.0f} of {metrics['test_total']:,.0f})"
    stale = ", ".join(f"{missed}: {pushes:,}" for missed, pushes in training["staleness"].items())
    return {
        f"test {main.replace('_', ' ')}": share,
        "gradients": f"{training['pushes']:,}, {training['repeated']:,} of them computed again",
        "staleness": f"{stale} (updates missed: gradients)",
        "workers": f"{training['workers']}, mode {training['mode']}; {training['replaced']} were replaced",
        "examples/s": f"{training['examples_per_second'] or 0:,.0f}",
        "export": str(target),
    }
