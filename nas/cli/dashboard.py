"""The command that serves the web page: dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import Place


def dashboard(  # noqa: PLR0913 - one for each option
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Which port; 0 takes any that is free.")] = 8780,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A further name by which browsers ask for it.", show_default=False),
    ] = None,
    steer: Annotated[
        bool, typer.Option("--steer", help="Let it stop, extend and enqueue, with a token that is made now.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same with the token in this file.", show_default=False)
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For TLS: a certificate (PEM).", show_default=False)
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).", show_default=False)] = None,
    journal: Place = None,
) -> None:
    """Show the searches on a web page, as they run. Without a token it only shows; Ctrl-C ends it."""
    import secrets

    from nas.cli.lookup import opened
    from nas.cli.output import remark, write
    from nas.dashboard.access import read_token
    from nas.dashboard.serving import Place as Listening
    from nas.dashboard.serving import serve

    token = read_token(token_file) if token_file is not None else secrets.token_urlsafe(32) if steer else None
    place = Listening(host, port, tuple(name or ()), certificate, key)

    def tell(address: str) -> None:
        if token is None:
            write(address)
            remark("The dashboard is open, to look only; Ctrl-C ends it.")
        elif token_file is not None:
            write(f"{address}login")
            remark("The dashboard is open; whoever has the token can steer the searches. Ctrl-C ends it.")
        else:
            write(f"{address}login#{token}")
            remark("The dashboard is open; whoever has this address can steer the searches. Ctrl-C ends it.")

    with opened(journal) as log:
        serve(log, place, token, tell)
