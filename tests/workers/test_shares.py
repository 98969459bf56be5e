"""Fair shares of a cluster: against linear programming, and over ten simulated minutes of trials that nobody ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import final

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from workers.pools.shares import HORIZON, LEASE, SETTLE, Claim, Shares, claim_from_json, filled, nearest

MINUTES = (Phase.explicit, Phase.generate)  # ten of them are not made simpler, which would take as long again and again
PARTS = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.integers(0, 20)), min_size=1, max_size=6)


@final
class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(PARTS)
def test_water_fills_as_linear_programming_says(vessels: list[tuple[float, int]]) -> None:
    weights, caps = [weight for weight, _ in vessels], [cap / 10 for _, cap in vessels]
    assert filled(weights, caps) == pytest.approx(_max_min(weights, caps), abs=1e-6)


def _max_min(weights: Sequence[float], caps: Sequence[float]) -> list[float]:
    """Raise the least level as far as it goes, fix whom nothing more helps, and go on with the others."""
    count, fixed = len(caps), dict[int, float]()
    while len(fixed) < count:
        free = [i for i in range(count) if i not in fixed]
        bounds = [(fixed[i], fixed[i]) if i in fixed else (0.0, caps[i]) for i in range(count)] + [(0.0, None)]
        rows = [[1.0] * count + [0.0]] + [[-(i == j) / weights[i] for j in range(count)] + [1.0] for i in free]
        best = linprog([0.0] * count + [-1.0], rows, [1.0] + [0.0] * len(free), bounds=bounds)
        level = best.x[-1]
        full = [i for i in free if caps[i] / weights[i] <= level + 1e-9]
        fixed |= {i: weights[i] * level for i in full or free}
    return [fixed[i] for i in range(count)]


@given(st.lists(st.tuples(st.floats(-1, 2), st.integers(0, 10)), min_size=1, max_size=5))
@settings(max_examples=40)
def test_what_is_nearest_to_a_wish_uses_up_the_room(wishes: list[tuple[float, int]]) -> None:
    wished, caps = np.array([wish for wish, _ in wishes]), [cap / 10 for _, cap in wishes]
    found = nearest(list(wished), caps)
    room = min(1.0, sum(caps))
    assert sum(found) == pytest.approx(room, abs=1e-6)
    other = minimize(
        lambda parts: ((parts - wished) ** 2).sum(),
        np.array(caps) * (room / max(sum(caps), 1e-9)),
        bounds=[(0, cap) for cap in caps],
        constraints={"type": "eq", "fun": lambda parts: parts.sum() - room},
    )
    assert ((np.array(found) - wished) ** 2).sum() <= other.fun + 1e-6


@final
@dataclass
class Search:
    """One that runs trials of `shortest` to `longest` seconds for as long as it is allowed to."""

    claim: Claim
    shortest: float = 1.0
    longest: float = 1.0
    joins: float = 0.0
    leaves: float = math.inf

    def __post_init__(self) -> None:
        self.running: list[float] = []
        self.used = 0.0
        self.next = self.joins


@final
class Cluster:
    """Searches, and the broker between them, of which one is at hand every half second."""

    def __init__(self, room: int, searches: list[Search], seed: int = 0) -> None:
        self.clock, self.room, self.searches, self.random = Clock(), room, searches, Random(seed)
        self.shares = Shares(self.clock)
        self.most = 0
        self.idle = 0.0  # slot seconds that somebody could have used

    def run(self, seconds: float, step: float = 0.5) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            for search in self.searches:
                if search.joins <= self.clock.now < search.leaves:
                    self._turn(search)
                elif self.clock.now >= search.leaves:
                    search.running.clear()
                    self.shares.leave(search.claim.search)
            busy = sum(len(search.running) for search in self.searches)
            self.most = max(self.most, busy)
            there = [search for search in self.searches if search.joins <= self.clock.now < search.leaves]
            wanted = sum(_most(search.claim) for search in there)
            self.idle += max(0, min(self.room, wanted) - busy) * step
            for search in self.searches:
                search.used += len(search.running) * step
            self.clock.now += step

    def _turn(self, search: Search) -> None:
        now = self.clock.now
        ended = [end for end in search.running if end <= now]
        search.running = [end for end in search.running if end > now]
        if ended or search.next <= now:
            lease = self.shares.renew(replace(search.claim, held=len(search.running)))
            search.claim = replace(search.claim, granted=lease.granted, owed=lease.owed)
            search.next = now + 1.0
        while len(search.running) < min(search.claim.granted, search.claim.wanted):
            search.running.append(now + self.random.uniform(search.shortest, search.longest))


def _most(claim: Claim) -> int:
    return min(claim.wanted, claim.room if claim.quota is None else claim.quota)


def _search(name: int, room: int, weight: float = 1.0, quota: int | None = None, wanted: int | None = None) -> Search:
    return Search(Claim(str(name), room, room if wanted is None else wanted, 0, weight=weight, quota=quota))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    count = draw(st.integers(1, 6))
    room = draw(st.integers(max(2, count), 32))
    searches = []
    for name in range(count):
        quota = draw(st.none() | st.none() | st.integers(1, room))
        wanted = draw(st.just(room) | st.just(room) | st.integers(1, room))
        search = _search(name, room, draw(st.sampled_from([1.0, 1.0, 1.0, 0.5, 2.0, 3.0])), quota, wanted)
        search.longest = draw(st.sampled_from([1.0, 5.0, 15.0, 30.0]))
        search.shortest = draw(st.sampled_from([0.1, search.longest / 2, search.longest]))
        searches.append(search)
    return Cluster(room, searches, draw(st.integers(0, 1000)))


def _errors(cluster: Cluster, seconds: float) -> list[float]:
    """By how much of its fair share, or of a slot where that is more, each search had too little or too much."""
    claims = [search.claim for search in cluster.searches]
    fair = filled([claim.weight for claim in claims], [_most(claim) / cluster.room for claim in claims])
    pairs = zip(cluster.searches, fair, strict=True)
    return [abs(search.used / seconds - part * cluster.room) / max(1.0, part * cluster.room) for search, part in pairs]


@given(clusters())
@settings(max_examples=4, phases=MINUTES)
def test_shares_are_fair_within_five_per_cent_over_ten_minutes(cluster: Cluster) -> None:
    cluster.run(SETTLE)
    for search in cluster.searches:
        search.used = 0.0
    cluster.run(600)
    assert max(_errors(cluster, 600)) <= 0.05
    assert cluster.most <= cluster.room


@given(clusters(), st.lists(st.integers(5, 590), min_size=1, max_size=3))
@settings(max_examples=2, phases=MINUTES)
def test_shares_stay_fair_whenever_the_broker_is_lost(cluster: Cluster, deaths: list[int]) -> None:
    cluster.run(SETTLE)
    for search in cluster.searches:
        search.used = 0.0
    for before, death in zip([0, *sorted(deaths)], [*sorted(deaths), 600], strict=True):
        cluster.run(death - before)
        cluster.shares = Shares(cluster.clock)
    assert max(_errors(cluster, 600)) <= 0.05
    assert cluster.most <= cluster.room


def test_three_searches_on_ten_slots_have_a_third_each() -> None:
    searches = [_search(name, 10) for name in range(3)]
    for search in searches:
        search.longest = 30.0
    cluster = Cluster(10, searches)
    cluster.run(SETTLE + 600)
    used = [search.used for search in searches]
    assert min(used) > 0.95 * 2000
    assert cluster.idle < 0.03 * 6000


@given(clusters(), st.integers(0, 3))
@settings(max_examples=12, phases=MINUTES)
def test_nobody_gets_more_than_there_is_or_than_its_quota(cluster: Cluster, late: int) -> None:
    random = cluster.random
    for search in cluster.searches[late:]:
        search.joins = random.uniform(0, 60)
        search.leaves = search.joins + random.uniform(0, 60)
    for _ in range(60):
        cluster.run(2)
        assert cluster.most <= cluster.room
        for search in cluster.searches:
            assert len(search.running) <= _most(search.claim)
        grants = cluster.shares.grants()
        claims = {search.claim.search: search.claim for search in cluster.searches}
        most = {name: _most(claims[name]) for name in grants}
        assert all(grants[name] <= most[name] for name in grants)
        assert sum(grants.values()) == min(cluster.room, sum(most.values())), "what somebody could use is given"


def test_nobody_starves_where_there_are_more_searches_than_slots() -> None:
    searches = [_search(name, 2) for name in range(10)]
    for search in searches:
        search.shortest, search.longest = 5.0, 30.0
    cluster = Cluster(2, searches)
    cluster.run(900.0, step=2.0)
    used = [search.used for search in searches]
    assert min(used) > 60.0, "of 180 slot seconds"
    assert max(used) < 360.0


def test_slots_of_unequal_size_are_shared_by_what_they_take_of_the_cluster() -> None:
    small, large = _search(0, 16), _search(1, 4)
    cluster = Cluster(16, [small, large])
    cluster.run(120)
    assert len(small.running) == 8
    assert len(large.running) == 2


def test_what_is_taken_away_is_given_to_nobody_before_it_is_given_back() -> None:
    clock = Clock()
    shares = Shares(clock, settle=0.0)
    first = Claim("a", 4, 4, 0)
    assert shares.renew(first).granted == 4
    clock.now = 1.0
    second = Claim("b", 4, 4, 0)
    assert shares.renew(second).granted == 0
    assert shares.renew(replace(first, held=4, granted=4)).granted == 2  # it has not heard of that before
    assert shares.renew(second).granted == 0
    shares.renew(replace(first, held=3, granted=2))
    assert shares.renew(second).granted == 1
    shares.renew(replace(first, held=2, granted=2))
    assert shares.renew(replace(second, held=1, granted=1)).granted == 2


def test_who_is_not_heard_of_has_no_share_any_more() -> None:
    clock = Clock()
    shares = Shares(clock, settle=0.0)
    assert shares.renew(Claim("dead", 4, 4, 0)).granted == 4
    other = Claim("alive", 4, 4, 0)
    while clock.now < LEASE - 1:
        assert shares.renew(other).granted == 0
        clock.now += 1.0
    clock.now = LEASE + 0.1
    assert shares.renew(other).granted == 4
    assert shares.members == ["alive"]


def test_a_new_broker_leaves_all_as_it_is_until_everybody_was_heard() -> None:
    clock = Clock()
    shares = Shares(clock)
    claims = [Claim("a", 10, 10, 3, 3, 0.2), Claim("b", 10, 10, 4, 4, -0.4), Claim("c", 10, 10, 3, 3, 0.2)]
    for claim in claims:
        assert shares.renew(claim).granted == claim.granted
    clock.now = SETTLE - 0.1
    assert [shares.renew(claim).granted for claim in claims] == [3, 4, 3]
    clock.now = SETTLE
    assert [shares.renew(claim).granted for claim in claims] == [3, 4, 3]


def test_who_runs_trials_too_long_owes_for_it() -> None:
    clock = Clock()
    shares = Shares(clock, settle=0.0)
    shares.renew(Claim("slow", 4, 4, 0))
    shares.renew(Claim("late", 4, 4, 0))
    while clock.now < HORIZON:
        clock.now += 1.0
        slow, late = shares.renew(Claim("slow", 4, 4, 4, 2)), shares.renew(Claim("late", 4, 4, 0))
    assert slow.owed == pytest.approx(-HORIZON / 2)
    assert late.owed == pytest.approx(HORIZON / 2)
    assert shares.grants() == {"slow": 0, "late": 4}


@pytest.mark.parametrize("record", [{}, {"search": "a"}, {"search": "a", "room": 1, "wanted": 1, "held": 1, "x": 1}])
def test_what_is_no_claim_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no claim"):
        claim_from_json(record)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, "1"])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    with pytest.raises(ValueError, match="is no claim"):
        claim_from_json({"search": "a", "room": 1, "wanted": 1, "held": 1, "weight": weight})
