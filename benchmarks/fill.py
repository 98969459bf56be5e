"""Run the commands of figures, and put what they print into README.md beside this file.

    python benchmarks/fill.py [NAME...] [--data FOLDER] [--cache FOLDER] [--runs N] [--processes N]

Options are handed on; without names all figures are made. What was printed before stays until the new text is there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from figure import say

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
FIGURES = (
    "nb201",
    "hyperparameters",
    "headline",
    "concurrency",
    "controllers",
    "matrix",
    "parameter_server",
    "shared_weights",
)
OPTIONS = ("data", "cache", "runs", "processes")
PLAIN = ("parameter_server",)  # which searches no table, and takes none of the options of those that do


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of this figure; one without marks (a picture) leaves it as it is."""
    marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    return marks.sub(lambda found: f"{found[1]}{text.strip()}\n{found[2]}", page)


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(FIGURES)}")
    for option in OPTIONS:
        arguments.add_argument(f"--{option}")
    wanted = arguments.parse_args()
    if unknown := set(wanted.names) - set(FIGURES):
        arguments.error(f"there is no figure called {', '.join(sorted(unknown))}")
    options = [f"--{option}={value}" for option in OPTIONS if (value := getattr(wanted, option)) is not None]
    for name in wanted.names or FIGURES:
        taken = [] if name in PLAIN else options
        command = [sys.executable, str(HERE / f"{name}.py"), *taken]
        say(f"python benchmarks/{name}.py {' '.join(taken)}")
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        PAGE.write_text(filled(PAGE.read_text(), name, printed))


if __name__ == "__main__":
    main()
