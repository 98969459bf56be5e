"""Shares: who of several searches may use how many slots of one cluster; a state machine with a clock from outside.

Shares are max-min fair by weight (Bertsekas & Gallager, 1992: "water-filling"), as parts of the cluster, so that slots
of unequal size can be compared. Slots are whole: what a search got too much or too little is owed, and what does not
divide evenly passes from one to the other. Nobody's trial is ended for it: who has too many slots gives one back when a
trial ends, and is charged until then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

LEASE = 10.0  # seconds after which a member that was not heard of is gone
SETTLE = 2.0  # seconds in which a new broker hears who is there, and leaves all as it is
HORIZON = 60.0  # seconds within which what is owed is to be made up for
PATIENCE = 120.0  # seconds of a whole share: nobody is owed, or owes, more
STAY = 0.25  # of a slot: how much more somebody must be owed to take it over; 15 slot seconds with the horizon above
TINY = 1e-6


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """What a search says of itself: `room` is how many of its slots the whole cluster has room for.

    It could use `wanted` slots and holds `held`; `granted` and `owed` are what it was told last, by whatever broker.
    """

    search: str
    room: int
    wanted: int
    held: int
    granted: int = 0
    owed: float = 0.0
    weight: float = 1.0
    quota: int | None = None


@final
@dataclass(frozen=True, slots=True)
class Lease:
    """What a search may have, in slots, and what it is owed, in seconds of the whole cluster."""

    granted: int
    owed: float


@final
@dataclass(slots=True)
class _Member:
    """`ceiling`: what it may have in hand until it is heard again, for an answer that takes away is not yet obeyed."""

    claim: Claim
    granted: int
    ceiling: int
    owed: float
    lapses: float

    @property
    def most(self) -> int:
        """The slots that it could use, and may."""
        claim = self.claim
        most = min(claim.wanted, claim.room)
        return max(0, most if claim.quota is None else min(most, claim.quota))

    @property
    def cost(self) -> float:
        """The part of the cluster that one slot is."""
        return 1.0 / max(1, self.claim.room)


@final
class Shares:
    """The members, what each was granted, and what each is owed; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float], settle: float = SETTLE, lease: float = LEASE) -> None:
        self._clock = clock
        self._lease = lease
        self._members: dict[str, _Member] = {}
        self._now = clock()
        self._open = self._now + settle
        self._asked: list[tuple[str, float, float]] = []
        self._parts: dict[str, float] = {}

    @property
    def members(self) -> list[str]:
        """Who is there."""
        self._pass_time()
        return list(self._members)

    def renew(self, claim: Claim) -> Lease:
        """Hear a search, which knows of the answer that it got before, and say what it may have from now on."""
        self._pass_time()
        member = self._members.get(claim.search)
        if member is None:
            member = _Member(claim, claim.granted, 0, claim.owed, 0.0)
            self._members[claim.search] = member
        member.claim = claim
        member.ceiling = max(claim.granted, claim.held)
        member.granted = claim.granted
        member.lapses = self._now + self._lease
        if self._now >= self._open:
            reach = member.ceiling + max(0, math.floor(self._free() * max(1, claim.room) + TINY))
            member.granted = min(self.grants()[claim.search], reach)
            member.ceiling = max(member.ceiling, member.granted)
        return Lease(member.granted, member.owed)

    def leave(self, search: str) -> None:
        """Take back all that a search has."""
        self._pass_time()
        self._members.pop(search, None)

    def grants(self) -> dict[str, int]:
        """What each is to have, in whole slots, once those who have more have given it back."""
        fair = self._fair()
        wished = {name: fair[name] + member.owed / HORIZON for name, member in self._members.items()}
        caps = [member.most * member.cost for member in self._members.values()]
        parts = dict(zip(self._members, nearest(list(wished.values()), caps), strict=True))
        whole = {name: math.floor(parts[name] / member.cost + TINY) for name, member in self._members.items()}
        left = 1.0 - sum(whole[name] * member.cost for name, member in self._members.items())

        def claim_to_more(name: str) -> tuple[float, float, str]:
            member = self._members[name]
            stays = STAY if member.granted > whole[name] else 0.0
            return -(wished[name] / member.cost - whole[name] + stays), -member.owed, name

        order, given = sorted(self._members, key=claim_to_more), True
        while given and left > TINY:
            given = False
            for name in order:
                member = self._members[name]
                if whole[name] < member.most and member.cost <= left + TINY:
                    whole[name] += 1
                    left -= member.cost
                    given = True
        return whole

    def _fair(self) -> dict[str, float]:
        """The part of the cluster that is each one's fair share."""
        asked = [(name, one.claim.weight, one.most * one.cost) for name, one in self._members.items()]
        if asked != self._asked:
            parts = filled([weight for _, weight, _ in asked], [most for _, _, most in asked])
            self._asked, self._parts = asked, dict(zip(self._members, parts, strict=True))
        return self._parts

    def _free(self) -> float:
        """The part of the cluster that nobody may have in hand."""
        return 1.0 - sum(member.ceiling * member.cost for member in self._members.values())

    def _pass_time(self) -> None:
        """Charge everybody for the time since the last look, and forget who is gone."""
        now = self._clock()
        fair, seconds = self._fair(), now - self._now
        for name, member in self._members.items():
            most = max(PATIENCE * fair[name], HORIZON * member.cost)
            owed = member.owed + (fair[name] - member.ceiling * member.cost) * seconds
            member.owed = min(most, max(-most, owed))
        self._now = now
        self._members = {name: member for name, member in self._members.items() if member.lapses > now}


def filled(weights: Sequence[float], caps: Sequence[float], room: float = 1.0) -> list[float]:
    """Max-min fair parts of `room` by weight, none above its cap: water poured into vessels of unequal width."""
    parts = [0.0] * len(caps)
    rest = sum(weights)
    for one in sorted(range(len(caps)), key=lambda i: caps[i] / weights[i]):
        parts[one] = min(caps[one], weights[one] * room / max(rest, weights[one]))
        room -= parts[one]
        rest -= weights[one]
    return parts


def nearest(wished: Sequence[float], caps: Sequence[float], room: float = 1.0) -> list[float]:
    """Parts of `room` between 0 and their caps which use it up, as near to what is wished as can be."""
    if sum(caps) <= room:
        return list(caps)
    tops = [(wish, 1) for wish in wished]
    feet = [(wish - cap, -1) for wish, cap in zip(wished, caps, strict=True)]
    level, total, rising = max(wished), 0.0, 0
    for point, change in sorted(tops + feet, reverse=True):  # the lower the level, the more are above it
        if total + rising * (level - point) >= room:
            break
        total += rising * (level - point)
        level, rising = point, rising + change
    if rising:
        level -= (room - total) / rising
    return [min(cap, max(0.0, wish - level)) for wish, cap in zip(wished, caps, strict=True)]


def claim_from_json(record: Mapping[str, object]) -> Claim:
    """The claim whose fields `record` has; ValueError where it is none."""
    try:
        claim = Claim(**record)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{record} is no claim: {error}") from None
    numbers = (claim.room, claim.wanted, claim.held, claim.granted, claim.owed, claim.weight, claim.quota or 0)
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers) or claim.weight <= 0:
        raise ValueError(f"{record} is no claim: its numbers must be finite, and its weight above 0")
    return claim
