"""What `nas bench` is told: the columns of a file, the strategies with their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.bench.columns import Columns
from nas.bench.compete import Source
from nas.bench.file_table import FileTable
from nas.bench.installed import ABOUT, installed
from nas.bench.installed import names as names_installed
from nas.bench.run import Contestant
from nas.bench.sheet import KINDS
from nas.cli.output import table as print_table
from nas.cli.output import write_json
from nas.cli.settings import nested
from nas.jobfile.mistakes import nearest
from nas.jobfile.plugins import check_plugins
from workers.errors import UserError
from workers.plugins import Spec
from workers.trial import Json


def names(given: Sequence[str] | None) -> tuple[str, ...]:
    """`["a,b", "c"] -> ("a", "b", "c")`."""
    return tuple(one.strip() for text in given or () for one in text.split(",") if one.strip())


def rows(given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """`["space=4V", "space=5V"] -> {"space": ("4V", "5V")}`."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given or ():
        column, sign, value = text.partition("=")
        if not sign or not column:
            raise UserError(f"{text!r} must be COLUMN=VALUE, such as --where hardware=cpu")
        found[column] = (*found.get(column, ()), value)
    return found


def by_epochs(given: Sequence[str] | None, option: str) -> dict[int, str]:
    """`["12=val12"] -> {12: "val12"}`."""
    found: dict[int, str] = {}
    for text in given or ():
        epochs, _, column = text.partition("=")
        if not epochs.strip().isdecimal() or int(epochs) < 1 or not column:
            raise UserError(f"{text!r} must be EPOCHS=COLUMN, such as {option} 12=accuracy_at_12")
        if int(epochs) in found:
            raise UserError(f"{option} {int(epochs)}=... is given twice: leave one out")
        found[int(epochs)] = column
    return found


def source(table: str | None, columns: Mapping[str, Json]) -> Source:
    """Where the table comes from: a file with what its columns are, or an installed one, which knows them."""
    if table is None:
        raise UserError("no table is named: say --table FILE, or --table NAME with one of `nas bench --tables`")
    if table.lower().endswith(KINDS) or Path(table).exists():
        if not columns["search"] or not columns["decisions"]:
            raise UserError(f"{table} needs --decisions COL,COL... and --search COL, which say what its columns are")
        return FileTable(Path(table), Columns(**columns))
    if given := [name for name, value in columns.items() if value]:
        raise UserError(
            f"{table} is no file, and the columns of an installed table are known: check the path, or leave out "
            f"what is said of columns ({', '.join(given)})"
        )
    return installed(table)


def list_tables(json: bool) -> None:
    """Print the installed tables."""
    found = [{"table": name, "about": ABOUT[name.partition("/")[0]]} for name in names_installed()]
    if json:
        write_json(found)
    else:
        print_table(["table", "about"], [[one["table"], one["about"]] for one in found])


def contestants(given: Sequence[str] | None, options: Sequence[str] | None, bare: bool) -> dict[str, Contestant]:
    """The strategies by name, with what `STRATEGY.KEY=VALUE` says of each; a wrong option is a `UserError`."""
    named = names(given)
    if not named:
        raise UserError("no strategy is named: say --strategy random,evolution, for instance")
    if twice := {one for one in named if named.count(one) > 1}:
        raise UserError(f"{', '.join(sorted(twice))} is named twice: leave one out")
    said: dict[str, list[str]] = {name: [] for name in named}
    for text in options or ():
        owner = max((name for name in named if text.startswith(f"{name}.")), key=len, default=None)
        if owner is None:
            wanted = text.partition("=")[0].partition(".")[0]
            raise UserError(
                f"--option {text}: {wanted!r} is none of the strategies here ({nearest(wanted, named)}); "
                "write STRATEGY.KEY=VALUE, such as evolution.population=20"
            )
        rest = text.removeprefix(f"{owner}.")
        if not rest.partition("=")[0].strip() or "=" not in rest:
            raise UserError(f"--option {text} must be STRATEGY.KEY=VALUE, such as evolution.population=20")
        said[owner].append(rest)
    found = {name: Contestant(name, nested(texts), bare) for name, texts in said.items()}
    check(found)
    return found


def check(found: Mapping[str, Contestant]) -> None:
    """Refuse a name that is no strategy, and options that it does not take."""
    mistakes = [
        f"{name}: {mistake.text}" if one.options else mistake.text
        for name, one in found.items()
        for mistake in check_plugins({"strategy": Spec(name, one.options)}, "")
    ]
    if mistakes:
        raise UserError("; ".join(mistakes))
