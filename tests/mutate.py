"""Breaks the code on purpose, one stored patch at a time, and checks that the named test notices.

Each `tests/mutations/NAME.patch` begins with a line `test: NODE_ID` and a line that says what the break does. The patch
is applied to a copy of the tree; that the test passes on the unbroken tree is what `make test` shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = (
    *("nas", "search_spaces", "workers", "parameter_server", "tests", "examples", "benchmarks", "docs"),
    *("pyproject.toml", "README.md"),
)


def named_test(patch: Path) -> str:
    """The test that must fail, from the patch's first line."""
    first = patch.read_text().splitlines()[0]
    if not first.startswith("test: "):
        raise SystemExit(f"{patch.name} begins with {first!r}, but must begin with 'test: NODE_ID'")
    return first.removeprefix("test: ").strip()


def survives(patch: Path) -> str | None:
    """Why the break went unnoticed, or None where its test failed as it must."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in CODE:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, copy / part)
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(patch)], cwd=copy, capture_output=True, text=True, check=False
        )
        if applied.returncode:
            return f"the patch does not apply any more: {applied.stderr.strip()}"
        tested = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
                *("--hypothesis-profile=thorough", named_test(patch)),  # a rare counterexample is to be found, too
            ],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
    if tested.returncode == 1:
        return None
    return "its test passes all the same" if tested.returncode == 0 else f"pytest ended with {tested.stdout[-2000:]}"


def main() -> int:
    """Run all mutations, or those named on the command line; the exit status is 1 if any went unnoticed."""
    patches = sorted((ROOT / "tests" / "mutations").glob("*.patch"))
    if wanted := sys.argv[1:]:
        patches = [patch for patch in patches if patch.stem in wanted]
    unnoticed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each works in a process and a folder of its own
        for patch, reason in zip(patches, pool.map(survives, patches), strict=True):
            print(f"{'noticed' if reason is None else 'UNNOTICED'}  {patch.stem}  {reason or ''}".rstrip(), flush=True)
            if reason is not None:
                unnoticed.append(patch.stem)
    print(f"{len(patches) - len(unnoticed)} of {len(patches)} breaks noticed", *unnoticed)
    return 1 if unnoticed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
