"""Certificates for tests, made anew: of an authority, of a listener on this machine, of its clients; and a token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from parameter_server.security import Security

TOKEN = "a token for tests, of no use anywhere"


@dataclass(frozen=True)
class Certificates:
    """What both ends need; `stranger` has a certificate of an authority that nobody knows."""

    listener: Security
    client: Security
    stranger: Security


def certificates(folder: Path) -> Certificates:
    """Made in a folder."""
    authority, other = trustme.CA(), trustme.CA()
    root = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(root))

    def secured(name: str, of: trustme.CA) -> Security:
        made = of.issue_cert("127.0.0.1", "localhost")
        key, chain = folder / f"{name}.key", folder / f"{name}.pem"
        made.private_key_pem.write_to_path(str(key))
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        return Security(chain, key, root, TOKEN)

    return Certificates(secured("listener", authority), secured("client", authority), secured("stranger", other))
