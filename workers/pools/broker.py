"""Broker: a tiny actor of a Ray cluster that leases its slots to the searches there; needs neither torch nor Ray.

It knows nothing that its members do not know: what each was granted and is owed comes with each claim, so a new broker
goes on where a dead one has ended. It ends itself once it has no member any more.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import final

from workers.pools.shares import LEASE, SETTLE, Shares, claim_from_json

LONELY = 10.0  # seconds that a broker without members waits for one
FAREWELL = 2.0  # seconds in which who left last ends it: Ray reports to people what ends by itself
LOOK = 1.0  # seconds between two looks at who is there


@final
class Broker:
    """`Shares` behind calls that take and give JSON."""

    def __init__(self, settle: float = SETTLE, lease: float = LEASE) -> None:
        self._shares = Shares(time.monotonic, settle, lease)
        self._lock = threading.Lock()
        self._left = threading.Event()
        threading.Thread(target=self._end_alone, name="broker", daemon=True).start()

    def renew(self, claim: str) -> str:
        """What the search of `claim` may have, as `Lease`."""
        with self._lock:
            lease = self._shares.renew(claim_from_json(json.loads(claim)))
        return json.dumps({"granted": lease.granted, "owed": lease.owed})

    def leave(self, member: str) -> bool:
        """Take back what a search that has ended had; whether it was the last one, which then ends this."""
        with self._lock:
            self._shares.leave(member)
            if not self._shares.members:
                self._left.set()
            return not self._shares.members

    def members(self) -> list[str]:
        """Who is there."""
        with self._lock:
            return self._shares.members

    def _end_alone(self) -> None:
        heard = time.monotonic()
        while time.monotonic() < heard + LONELY:
            self._left.wait(LOOK)
            with self._lock:
                alone = not self._shares.members
            if not alone:
                self._left.clear()
                heard = time.monotonic()
            elif self._left.is_set():
                break
        time.sleep(FAREWELL)
        os._exit(0)  # from this thread there is no other way; whoever calls meanwhile makes another broker
