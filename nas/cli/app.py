"""The command line as a whole: which commands there are, and what becomes of an error in one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup

from nas.cli import bench, dashboard, deliver, jobs, remote, show, steer, top, train, upkeep, watch
from nas.cli.exits import explain
from nas.cli.output import complain, write

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Begin": (jobs.init, jobs.validate, steer.run, remote.submit),
    "Watch": (
        watch.list_,
        watch.status,
        watch.trials,
        watch.best,
        watch.compare,
        show.show,
        remote.logs,
        top.top,
        dashboard.dashboard,
    ),
    "Steer": (steer.stop, steer.resume, steer.enqueue),
    "Hand over": (deliver.export, deliver.report, train.train),
    "Look after": (upkeep.gc, upkeep.doctor),
    "Measure": (bench.bench,),
}


@final
class Commands(TyperGroup):
    """The group of all commands; an error in one ends in one message and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            if hasattr(error, "exit_code") or isinstance(error, BrokenPipeError) or ctx.params.get("debug"):
                raise  # Typer's own usage errors and exits; a reader that has gone; a traceback that was asked for
            message, code = explain(error)
            complain(message)
            raise typer.Exit(code) from error


def application() -> typer.Typer:
    """The Typer application with all commands."""
    app = typer.Typer(
        name="nas",
        cls=Commands,
        callback=_options,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for panel, commands in COMMANDS.items():
        for command in commands:
            app.command(name=command.__name__.rstrip("_"), rich_help_panel=panel)(command)
    return app


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        write(f"cellwright {version('cellwright')}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search for neural networks and the hyperparameters to train them with; get back a plain PyTorch model.

    Submit a job file with `nas run`, watch it with `nas status`, take the winner home with `nas export`.
    """
