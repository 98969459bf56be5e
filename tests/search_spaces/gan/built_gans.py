"""The pair of networks that a space of gans builds, by its own type."""

from __future__ import annotations

from search_spaces.decisions import Candidate
from search_spaces.gan.gan import GanSpace
from search_spaces.gan.gan_network import GanNetwork
from search_spaces.space import Signature


def built(space: GanSpace, candidate: Candidate, signature: Signature) -> GanNetwork:
    """The candidate's networks."""
    network = space.build(candidate, signature)
    assert isinstance(network, GanNetwork)
    return network
