"""What a pool does about its slots, and who counts as gone: decisions, without Ray."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.pools.allowance import Allowance, Unlimited
from workers.pools.liveness import LIMIT, Answer, Liveness, knock
from workers.pools.lookout import STRIDE, Silence
from workers.pools.nodes import Cluster, Node
from workers.pools.survey import SPARE, Post, Survey, survey

SHARE = {"CPU": 1.0, "GPU": 0.0}
NAMES = ("a", "b", "c", "d")
OPEN, SILENT, REFUSED = Answer.OPEN, Answer.SILENT, Answer.REFUSED


class Granted(Allowance):
    def __init__(self, slots: int) -> None:
        self.slots = slots

    def granted(self, wanted: int, room: int, held: int, busy: int) -> int:
        assert 0 <= busy <= held
        return self.slots


def node(name: str, cpus: float = 2) -> Node:
    return Node(name, "host", 1, {"CPU": cpus})


def posts(*nodes: str, **changes: Any) -> list[Post]:
    return [replace(Post(i, name, True, 0, False), **changes) for i, name in enumerate(nodes)]


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    states = draw(st.fixed_dictionaries(dict.fromkeys(NAMES, st.sampled_from(("usable", "drains", "silent", "dead")))))
    cpus = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
    records = [
        {"NodeID": name, "NodeManagerAddress": "h", "NodeManagerPort": 1, "Resources": {"CPU": count},
         "Alive": states[name] != "dead"}
        for name, count in zip(NAMES, cpus, strict=True)
    ]  # fmt: skip
    drains = frozenset(name for name in NAMES if states[name] == "drains")
    return Cluster.of(records, drains, frozenset(name for name in NAMES if states[name] == "silent"))


@st.composite
def crews(draw: st.DrawFn) -> list[Post]:
    found = []
    for place in range(draw(st.integers(0, 10))):
        up = draw(st.booleans())
        held = draw(st.integers(0, 2)) if up else 0
        where = draw(st.sampled_from(NAMES)) if up else draw(st.sampled_from(("", *NAMES)))
        found.append(Post(place, where, up, held, up and held > 0 and draw(st.booleans())))
    return found


def after(crew: Sequence[Post], do: Survey) -> list[Post]:
    """The slots that remain once all is done, the new ones not counted."""
    gone = {*do.lost, *do.dismissed}
    told = dict.fromkeys((*do.drained, *do.leaving), True) | dict.fromkeys(do.staying, False)
    return [replace(post, leaving=told.get(post.place, post.leaving)) for post in crew if post.place not in gone]


@given(clusters(), crews(), st.none() | st.integers(1, 20), st.none() | st.integers(0, 20))
def test_a_survey_obeys_the_allowance_ends_no_trial_and_asks_for_nothing_more_the_second_time(
    cluster: Cluster, crew: list[Post], fixed: int | None, granted: int | None
) -> None:
    allowance = Unlimited() if granted is None else Granted(granted)
    do = survey(crew, cluster, SHARE, fixed, allowance)
    room, wanted = cluster.room(SHARE), cluster.room(SHARE) if fixed is None else fixed
    target = wanted if granted is None else min(wanted, granted)
    places = [*do.lost, *do.drained, *do.dismissed, *do.leaving]
    assert len(places) == len(set(places))
    assert {post.place for post in crew if post.node in cluster.lost} == set(do.lost)
    assert not any(crew[place].held for place in do.dismissed), "a trial was ended"
    rest = after(crew, do)
    assert all(post.leaving and post.held for post in rest if post.node in cluster.draining)
    staying = [post for post in rest if not post.leaving]
    assert len(staying) + do.hires <= max(target, 0)
    assert do.hires <= max(0, room + SPARE)
    if do.hires == 0 and not any(post.leaving or not post.up for post in rest):
        assert len(rest) >= min(target, room)
    assert (do.demand > 0) == (fixed is not None and target > room)
    again = survey([replace(post, place=i) for i, post in enumerate(rest)], cluster, SHARE, fixed, allowance)
    assert (again.lost, again.drained, again.dismissed, again.leaving, again.staying) == ((), (), (), (), ())
    assert again.hires == do.hires


def test_slots_follow_the_room_and_fixed_ones_wait_for_it_in_small_numbers() -> None:
    cluster = Cluster((node("a"), node("b", 3)))
    assert survey([], cluster, SHARE, None, Unlimited()).hires == 5
    assert survey([], cluster, SHARE, 3, Unlimited()) == Survey(hires=3)
    assert survey([], cluster, SHARE, 500, Unlimited()) == Survey(hires=5 + SPARE, demand=500)
    assert survey([], cluster, {"CPU": 0.01}, 300, Unlimited()).hires == 5 + SPARE, "not all at once"
    assert survey([], Cluster(), SHARE, None, Unlimited()) == Survey()


def test_what_is_too_much_goes_idle_slots_first_and_comes_back_before_anybody_is_hired() -> None:
    cluster = Cluster((node("a", 4),))
    crew = posts("a", "a", "a", "a", held=1)
    crew[2] = replace(crew[2], held=0)
    do = survey(crew, cluster, SHARE, None, Granted(2))
    assert (do.dismissed, len(do.leaving), do.hires) == ((2,), 1, 0)
    rest = after(crew, do)
    assert survey([replace(post, place=i) for i, post in enumerate(rest)], cluster, SHARE, None, Unlimited()) == Survey(
        staying=(next(i for i, post in enumerate(rest) if post.leaving),), hires=1
    )


def test_a_draining_node_is_emptied_and_replaced_at_once() -> None:
    cluster = Cluster((node("b"),), draining=frozenset("a"))
    do = survey([*posts("a", held=1), Post(1, "a", True, 0, False)], cluster, SHARE, 2, Unlimited())
    assert do == Survey(drained=(0,), dismissed=(1,), hires=2)


def test_an_actor_that_is_nowhere_yet_starts_again_where_a_silent_node_is_shunned() -> None:
    cluster = Cluster((node("b"),), silent=frozenset("a"), lost=frozenset("a"))
    crew = [Post(0, "", False, 0, False), Post(1, "", False, 0, False, frozenset("a"))]
    assert survey(crew, cluster, SHARE, None, Unlimited()) == Survey(dismissed=(0,), hires=1)


@given(st.lists(st.sampled_from((OPEN, SILENT, REFUSED)), max_size=30))
def test_only_a_silence_that_lasts_is_a_death_and_two_answers_are_a_return(heard: list[Answer]) -> None:
    liveness, silence, gone, back, known = Liveness(), 0, False, 0, False
    for answer in heard:
        said = "a" in liveness.round({"a": answer})
        if answer is OPEN:
            known, silence, back = True, 0, back + 1
            gone = gone and back < 2
        else:
            silence, back = silence + answer, 0
            gone = gone or (known and silence >= LIMIT)
        silence = silence if known else 0
        assert said == gone


def test_nobody_goes_who_never_answered_or_while_the_head_is_silent() -> None:
    liveness = Liveness()
    for _ in range(10):
        assert not liveness.round({"far": SILENT, "a": OPEN})
    for _ in range(10):
        assert not liveness.round({"a": SILENT}, head=False)
    for _ in range(LIMIT - 1):
        assert not liveness.round({"a": SILENT})
    assert liveness.round({"a": SILENT}) == {"a"}
    assert liveness.round({"a": OPEN}) == {"a"}
    assert liveness.round({"a": OPEN}) == frozenset()
    for answer in (REFUSED, REFUSED):
        found = liveness.round({"a": answer})
    assert found == {"a"}, "two refusals are enough"


def test_a_knock_tells_who_listens_from_who_refuses_and_who_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as closed, socket.socket() as full:
        closed.bind(("127.0.0.1", 0))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):  # its queue is full: packets are dropped, as of a lost host
            doors = {"open": listener.getsockname(), "refused": closed.getsockname(), "silent": full.getsockname()}
            assert knock(doors, 0.3) == {"open": OPEN, "refused": REFUSED, "silent": SILENT}
    assert knock({}, 0.0) == {}


def test_a_driver_that_was_stopped_listens_before_it_believes_that_the_head_is_gone() -> None:
    silence = Silence(100.0)
    assert silence.at(101.0, 100.5) == pytest.approx(0.5)
    assert silence.at(200.0, 100.9) == pytest.approx(STRIDE + 0.1)  # nothing could be heard
    assert silence.at(200.5, 200.4) == pytest.approx(0.1)
    times = [201.0 + second for second in range(50)]
    assert [silence.at(now, 200.4) for now in times] == pytest.approx([now - 200.4 for now in times])
