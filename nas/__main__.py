"""The command `nas`."""

from __future__ import annotations

from nas.cli.app import application


def main() -> None:
    """Run the command line and end with its exit code."""
    application()(prog_name="nas")


if __name__ == "__main__":
    main()
