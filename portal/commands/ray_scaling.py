"""How many portals a Ray cluster should have, and the steps that lead there. Knows nothing of Ray itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from portal.commands.ray_post import Look
from portal.session_table import Node

__all__ = ["Cluster", "Conductor", "Scaling", "Seen"]

CALM_S = 300.0
"For so long a portal has to be one too many before it goes."

Kind = Literal["portal", "worker"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A post of the cluster. look: None while it does not answer: Ray has no room for it, or its machine is lost."""

    name: str
    kind: Kind
    look: Look | None = None
    where: str = ""
    "address of its machine"

    @property
    def is_leaving(self) -> bool:
        return self.look is not None and self.look.state in ("leaving", "ended")

    @property
    def has_ended(self) -> bool:
        return self.look is not None and self.look.state == "ended"


class Cluster(Protocol):
    """Posts by name. They go on when whoever placed them is gone."""

    def seen(self) -> Sequence[Seen]: ...

    def place(self, name: str, kind: Kind) -> None:
        """Have a post there as soon as a machine has room for it, from then on for good."""

    def drain(self, name: str) -> None:
        """Have what it runs end in order."""

    def remove(self, name: str) -> None:
        """At once."""


class Scaling:
    """At least `least` portals, at most `most`; between these, as many as it takes to have `spare` places free."""

    def __init__(self, least: int, most: int, spare: int) -> None:
        self._least, self._most, self._spare = least, most, spare
        self._too_many_since_s: float | None = None

    def wanted(self, count: int, at_work: Sequence[Node], now_s: float) -> int:
        """How many portals there should be. count: how many there are, with those that are not at work yet."""
        free = sum(node.places - node.taken for node in at_work)
        on_the_way = count - len(at_work)
        # The viewers of one that goes move into the places of the others.
        free_without_one = free if on_the_way else free - min((node.places for node in at_work), default=0)
        if count <= self._least or free_without_one < self._spare:
            self._too_many_since_s = None
        elif self._too_many_since_s is None:
            self._too_many_since_s = now_s
        if count < self._least:
            return self._least
        if count > self._most:
            return self._most
        if free < self._spare and not on_the_way:
            return min(count + 1, self._most)
        if self._too_many_since_s is not None and now_s - self._too_many_since_s >= CALM_S:
            self._too_many_since_s = None
            return count - 1
        return count


class Conductor:
    """Brings a cluster to the size that it should have, step by step.

    nodes: the portals that are alive by the database; raises DatabaseUnreachable. say: gets lines for a person.
    """

    def __init__(
        self,
        cluster: Cluster,
        nodes: Callable[[], Sequence[Node]],
        scaling: Scaling,
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._scaling = scaling
        self._workers = workers
        self._say = say
        self._said: dict[str, str] = {}

    def step(self, now_s: float) -> None:
        """To be taken every few seconds. Raises DatabaseUnreachable."""
        seen = self._tidied()
        workers = [one for one in seen if one.kind == "worker" and not one.is_leaving]
        self._come_to(self._workers, "worker", workers, seen, {})
        portals = [one for one in seen if one.kind == "portal" and not one.is_leaving]
        nodes = {node.name: node for node in self._nodes()}
        at_work = [nodes[one.look.node] for one in portals if one.look is not None and one.look.node in nodes]
        wanted = self._scaling.wanted(len(portals), at_work, now_s)
        self._come_to(wanted, "portal", portals, seen, {node.name: node.taken for node in at_work})

    def end(self) -> bool:
        """Have all posts end in order; whether none is left. To be called again until then."""
        seen = self._tidied()
        for one in seen:
            self._send_away(one)
        return not seen

    def _tidied(self) -> list[Seen]:
        """What is there, without what has ended; tells what has changed."""
        seen = self._cluster.seen()
        for one in seen:
            words = _in_words(one)
            if self._said.get(one.name) != words:
                self._say(f"{one.name} {words}")
                self._said[one.name] = words
            if one.has_ended:
                self._cluster.remove(one.name)
                del self._said[one.name]
        return [one for one in seen if not one.has_ended]

    def _come_to(
        self, wanted: int, kind: Kind, there: Sequence[Seen], seen: Sequence[Seen], taken: Mapping[str, int]
    ) -> None:
        """taken: places of portals, by their names in the database."""
        names = {one.name for one in seen}
        free = (name for name in (f"{kind}-{number}" for number in itertools.count(1)) if name not in names)
        for name in itertools.islice(free, max(0, wanted - len(there))):
            self._cluster.place(name, kind)
        # What is not at work yet goes first, then what has the fewest viewers.
        dispensable = sorted(there, key=lambda one: taken.get(one.look.node, 0) if one.look is not None else -1)
        for one in dispensable[: max(0, len(there) - wanted)]:
            self._send_away(one)

    def _send_away(self, one: Seen) -> None:
        if one.look is None:
            self._cluster.remove(one.name)
        elif not one.is_leaving:
            self._cluster.drain(one.name)


def _in_words(one: Seen) -> str:
    look = one.look
    if look is None:
        return "waits for a machine with room."
    ended = "" if look.status is None else f" Its process ended with status {look.status} before."
    if look.state == "ready" and look.kind == "portal":
        return f"is ready at {one.where}, port {look.port}.{ended}"
    words = {"starting": "starts", "ready": "is ready", "leaving": "ends when answers were heard", "ended": "has ended"}
    return f"{words[look.state]} at {one.where}.{'' if look.state == 'ended' else ended}"
