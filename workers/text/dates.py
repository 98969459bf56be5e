"""Dates: days as people write them, by the patterns of Babel's locales, and as ISO 8601 writes them.

"Thursday, 3 may 1979" -> "1979-05-03". Days are of the hundred years from 1950 on, so that two digits name a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import TYPE_CHECKING, final

from workers.errors import UserError
from workers.text.pairs import Pair, Pairs, PairSource, Shares

if TYPE_CHECKING:
    from babel import Locale

FIRST, BEHIND = date(1950, 1, 1), date(2050, 1, 1)
DAYS = (BEHIND - FIRST).days
PATTERNS = (
    *("full", "long", "medium", "short"),  # of the locale
    *("d MMMM yyyy", "d MMM yyyy", "EEEE d MMMM yyyy", "EEE d MMM yy", "MMM d, yy", "dd.MM.yyyy", "d.M.yy"),
    *("yyyy/MM/dd", "yyyyMMdd"),
)
CASES = (str, str.lower, str.upper)


@final
@dataclass(frozen=True)
class Dates(PairSource):
    """So many pairs, each of a day of its own, so that no day is in two parts; locale, pattern and case are drawn."""

    examples: int = 12000
    locales: tuple[str, ...] = ("en_US",)

    def __post_init__(self) -> None:
        if not 3 <= self.examples <= DAYS:
            raise UserError(f"examples is {self.examples}, but dates has 3 to {DAYS} of them: one for each day")
        if not self.locales:
            raise UserError("locales is empty, but dates are written by at least one: name one, as en_US")

    def stamp(self) -> str:
        return ""

    def read(self, shares: Shares) -> Pairs:
        locales, generator = [located(name) for name in self.locales], Random(f"dates/{shares.seed}")
        days = [FIRST + timedelta(place) for place in generator.sample(range(DAYS), self.examples)]
        pairs = [_written(day, locales, generator) for day in days]
        test = max(1, round(shares.test * len(pairs)))
        behind = test + max(1, round(shares.validation * len(pairs)))
        if behind >= len(pairs):
            raise UserError(f"none of {len(pairs)} dates is left to learn from: set smaller shares, or more examples")
        return Pairs(pairs[behind:], pairs[test:behind], pairs[:test])


def located(name: str) -> Locale:
    """Babel's locale of this name."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError, TypeError) as error:
        raise UserError(f"locales has {name!r}, but Babel knows no such locale ({error}): write it as en_US") from None


def _written(day: date, locales: list[Locale], generator: Random) -> Pair:
    from babel.dates import format_date

    text = format_date(day, generator.choice(PATTERNS), locale=generator.choice(locales))
    return generator.choice(CASES)(text), day.isoformat()
