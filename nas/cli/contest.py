"""What `nas bench` is told: the columns of a file, the strategies with their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.bench.run import Contestant
from nas.cli.settings import nested
from nas.jobfile.mistakes import nearest
from nas.jobfile.plugins import check_plugins
from workers.errors import UserError
from workers.plugins import Spec


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


def contestants(given: Sequence[str], options: Sequence[str] | None, bare: bool) -> dict[str, Contestant]:
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
        said[owner].append(text.removeprefix(f"{owner}."))
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
