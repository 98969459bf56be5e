"""The command `nas`."""

from __future__ import annotations

import signal

from nas.cli.app import application


def main() -> None:
    """Run the command line and end with its exit code."""
    try:
        application()(prog_name="nas")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a third Ctrl-C would only interrupt the interpreter's own end


if __name__ == "__main__":
    main()
