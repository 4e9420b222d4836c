"""What a Ray cluster is given to run: posts that keep a portal or a worker running, and how many of them there are."""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from models.errors import VivavoceError
from portal.commands.arguments import configure_ray
from portal.commands.ray_cluster import RayRun, conduct, order_of
from portal.commands.ray_post import END_WITHIN_S, READY_WITHIN_S, SILENT_S, Look, Machine, Order, Post
from portal.commands.ray_scaling import CALM_S, Conductor, Kind, Scaling, Seen
from portal.errors import DatabaseUnreachable
from portal.session_table import Node
from portal.settings import Settings


@dataclass
class Running:
    """A process of a post."""

    arguments: list[str]
    secrets: dict[str, str]
    status: int | None = None
    stopped: bool = False

    def poll(self) -> int | None:
        return self.status

    def stop(self) -> None:
        self.stopped = True

    def kill(self) -> None:
        self.status = 137


@dataclass
class Place:
    """A machine whose clock, ports and portals are as the test says."""

    seconds: float = 0.0
    port: int = 7860
    is_well: bool = False
    started: list[Running] = field(default_factory=list)

    def now_s(self) -> float:
        return self.seconds

    def name(self) -> str:
        return "anna"

    def port_from(self, host: str, port: int) -> int:
        assert (host, port) == ("10.0.0.1", 7860)
        return self.port

    def start(self, arguments: list[str], secrets: dict[str, str]) -> Running:
        self.started.append(Running(arguments, secrets))
        return self.started[-1]

    def answers(self, _host: str, port: int, node: str) -> bool:
        return self.is_well and port == self.port and node == f"anna-{port}"


PORTAL = Order("portal", ("--data-dir=/d",), {"VIVAVOCE_DATABASE_URL": "u"}, "10.0.0.1", 7860, drain_s=30.0)


def after(place: Place, post: Post, seconds: float) -> Look:
    place.seconds += seconds
    post.tick()
    return post.look()


def test_a_portal_is_started_at_a_free_port_and_is_ready_when_it_answers() -> None:
    place = Place(port=7862)
    post = Post(PORTAL, place)
    assert post.look().state == "starting"
    post.tick()
    (running,) = place.started
    assert running.arguments == [
        *("--data-dir=/d", "--port=7862", "--node-name=anna-7862", "--no-worker", "--no-browser")
    ]
    assert running.secrets == {"VIVAVOCE_DATABASE_URL": "u"}
    assert after(place, post, 1).state == "starting"
    place.is_well = True
    assert after(place, post, 1) == Look("portal", "ready", "anna-7862", 7862, starts=1)
    assert "VIVAVOCE_DATABASE_URL" not in repr(PORTAL)


def test_what_ends_is_started_again_at_the_port_that_is_free_then() -> None:
    """Soon at first, later at most once a minute; soon again for one that ran for long."""
    place = Place(is_well=True)
    post = Post(PORTAL, place)
    pauses = []
    for _ in range(9):
        post.tick()
        place.started[-1].status, place.port = 1, place.port + 1
        began_s, starts = place.seconds, len(place.started)
        post.tick()
        assert post.look().state == "starting" and post.look().status == 1
        while len(place.started) == starts:
            after(place, post, 0.5)
        pauses.append(place.seconds - began_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert post.look().port == place.port
    place.started[-1].status = 1
    after(place, post, 1000)
    assert len(after(place, post, 1).node) and len(place.started) == 11
    assert all(running.stopped for running in place.started[:-1])


def test_a_portal_that_answers_no_more_is_started_again() -> None:
    """One that is not ready yet has longer: networks are loaded first."""
    place = Place()
    post = Post(PORTAL, place)
    post.tick()
    after(place, post, READY_WITHIN_S)
    assert place.started[0].status is None
    place.is_well = True
    after(place, post, 1)
    place.is_well = False
    after(place, post, SILENT_S)
    assert place.started[0].status is None
    after(place, post, 1)
    assert place.started[0].status == 137 and post.look().state == "starting"
    after(place, post, 1)
    after(place, post, 1)
    assert len(place.started) == 2
    after(place, post, READY_WITHIN_S + 1)
    assert place.started[1].status == 137


def test_a_portal_that_is_to_leave_has_time_for_its_answers_and_is_not_started_again() -> None:
    place = Place(is_well=True)
    post = Post(PORTAL, place)
    post.tick()
    post.drain()
    assert post.look().state == "leaving"
    after(place, post, 1)
    assert place.started[0].stopped and place.started[0].status is None
    place.started[0].status = 0
    assert after(place, post, 1).state == "ended"
    assert after(place, post, 1000).state == "ended" and len(place.started) == 1


def test_a_portal_that_does_not_leave_in_time_is_killed() -> None:
    place = Place(is_well=True)
    post = Post(PORTAL, place)
    post.tick()
    post.drain()
    post.tick()
    after(place, post, 30 + END_WITHIN_S)
    assert place.started[0].status is None
    after(place, post, 1)
    assert place.started[0].status == 137
    assert after(place, post, 1).state == "ended"


def test_a_post_that_had_nothing_running_has_ended_at_once() -> None:
    post = Post(PORTAL, Place())
    post.drain()
    assert post.look().state == "ended"


def test_a_worker_is_ready_when_it_runs() -> None:
    place = Place()
    post = Post(replace(PORTAL, kind="worker"), place)
    post.tick()
    assert place.started[0].arguments == ["worker", "--data-dir=/d"]
    assert after(place, post, 1) == Look("worker", "ready", starts=1)


def test_a_machine_has_ports_for_some_portals() -> None:
    """The first that is free; none is an error that says which were tried."""
    machine = Machine()
    first = machine.port_from("127.0.0.1", 41_000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert first < machine.port_from("127.0.0.1", first) < first + 10
    with pytest.raises(OSError, match="41000 to 41009"):
        machine.port_from("192.0.2.1", 41_000)


@pytest.mark.parametrize(("said", "is_it"), [('{"node": "anna-1"}', True), ('{"node": "anna-2"}', False), ("[", False)])
def test_another_portal_at_the_port_is_not_taken_for_the_own_one(said: str, is_it: bool) -> None:
    """Two posts of a machine may have chosen the same port at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(f"HTTP/1.0 503 X\r\n\r\n{said}".encode())

        answering = threading.Thread(target=answer)
        answering.start()
        assert Machine().answers("127.0.0.1", listener.getsockname()[1], "anna-1") is is_it
        answering.join()


def node(name: str, taken: int, places: int = 4) -> Node:
    return Node(f"{name}-1f", name, taken, places)


def test_there_are_more_portals_while_too_few_places_are_free() -> None:
    """One at a time: what the next one brings is known when it is at work."""
    scaling = Scaling(least=1, most=3, spare=2)
    assert scaling.wanted(0, [], 0) == 1
    assert scaling.wanted(1, [node("a", 2)], 0) == 1
    assert scaling.wanted(1, [node("a", 3)], 0) == 2
    assert scaling.wanted(2, [node("a", 4)], 0) == 2
    assert scaling.wanted(2, [node("a", 4), node("b", 4)], 0) == 3
    assert scaling.wanted(3, [node("a", 4), node("b", 4), node("c", 4)], 0) == 3
    assert scaling.wanted(5, [], 0) == 3


def test_there_are_fewer_portals_when_one_was_too_many_for_some_minutes() -> None:
    """Its viewers have to find places at the others."""
    scaling = Scaling(least=1, most=3, spare=2)
    two = [node("a", 1), node("b", 1)]
    assert scaling.wanted(2, two, 0) == 2
    assert scaling.wanted(2, two, CALM_S - 1) == 2
    assert scaling.wanted(2, [node("a", 1), node("b", 2)], CALM_S) == 2
    assert scaling.wanted(2, two, CALM_S + 1) == 2
    assert scaling.wanted(2, two, 2 * CALM_S) == 2
    assert scaling.wanted(2, two, 2 * CALM_S + 1) == 1
    assert scaling.wanted(1, [node("a", 0)], 9 * CALM_S) == 1


def test_a_portal_that_finds_no_machine_is_given_up_when_it_is_needed_no_more() -> None:
    scaling = Scaling(least=1, most=2, spare=1)
    assert scaling.wanted(2, [node("a", 4)], 0) == 2
    assert scaling.wanted(2, [node("a", 0)], 1) == 2
    assert scaling.wanted(2, [node("a", 0)], CALM_S + 1) == 1


class Posts:
    """A Cluster whose posts are at work as soon as they are there, unless it has no room."""

    def __init__(self) -> None:
        self.posts: dict[str, Seen] = {}
        self.has_room = True
        self.removed: list[str] = []

    def seen(self) -> list[Seen]:
        return [self.posts[name] for name in sorted(self.posts)]

    def place(self, name: str, kind: Kind) -> None:
        look = Look(kind, "ready", f"anna-{name}" if kind == "portal" else "", 7860)
        self.posts[name] = Seen(name, kind, look if self.has_room else None, "10.0.0.1")

    def drain(self, name: str) -> None:
        self.change(name, state="leaving")

    def remove(self, name: str) -> None:
        self.removed.append(name)
        del self.posts[name]

    def change(self, name: str, **fields: object) -> None:
        look = self.posts[name].look
        assert look is not None
        self.posts[name] = replace(self.posts[name], look=replace(look, **fields))  # type: ignore[arg-type]

    def at_work(self, taken: Mapping[str, int]) -> list[Node]:
        """By the database."""
        looks = [one.look for one in self.seen() if one.look is not None and one.kind == "portal"]
        return [node(look.node, taken.get(look.node.removeprefix("anna-"), 0)) for look in looks]


def test_a_cluster_comes_to_its_size_and_the_portal_with_the_fewest_viewers_goes() -> None:
    """It hears its viewers out first, then its post goes; its name is free then."""
    posts, said, taken = Posts(), list[str](), {"portal-1": 4, "portal-2": 3}
    conductor = Conductor(posts, lambda: posts.at_work(taken), Scaling(2, 3, 2), 1, said.append)
    conductor.step(0)
    assert [*posts.posts] == ["worker-1", "portal-1", "portal-2"]
    conductor.step(1)
    assert "portal-3" in posts.posts
    taken |= {"portal-1": 0, "portal-2": 1, "portal-3": 1}
    conductor.step(2)
    conductor.step(2 + CALM_S)
    states = {name: one.look.state for name, one in posts.posts.items() if one.look is not None}
    assert states == {"worker-1": "ready", "portal-1": "leaving", "portal-2": "ready", "portal-3": "ready"}
    conductor.step(3 + CALM_S)
    assert posts.removed == []
    posts.change("portal-1", state="ended")
    conductor.step(4 + CALM_S)
    assert posts.removed == ["portal-1"]
    assert said[:3] == [
        "portal-1 is ready at 10.0.0.1, port 7860.",
        "portal-2 is ready at 10.0.0.1, port 7860.",
        "worker-1 is ready at 10.0.0.1.",
    ]
    assert said[-2:] == ["portal-1 ends when answers were heard at 10.0.0.1.", "portal-1 has ended at 10.0.0.1."]
    taken |= {"portal-2": 4, "portal-3": 4}
    conductor.step(5 + CALM_S)
    assert "portal-1" in posts.posts


def test_without_the_database_no_portal_comes_or_goes() -> None:
    """Workers do: how many there are does not depend on viewers."""
    posts = Posts()

    def away() -> list[Node]:
        raise DatabaseUnreachable("away", "")

    with pytest.raises(DatabaseUnreachable):
        Conductor(posts, away, Scaling(2, 3, 2), 2, lambda _line: None).step(0)
    assert [*posts.posts] == ["worker-1", "worker-2"]


def test_all_that_a_cluster_runs_ends_in_order() -> None:
    """What waits for a machine goes at once."""
    posts = Posts()
    conductor = Conductor(posts, lambda: posts.at_work({}), Scaling(1, 1, 0), 0, lambda _line: None)
    conductor.step(0)
    posts.has_room = False
    posts.place("worker-1", "worker")
    assert not conductor.end()
    assert posts.removed == ["worker-1"] and not conductor.end()
    posts.change("portal-1", state="ended")
    conductor.end()
    assert conductor.end() and posts.removed == ["worker-1", "portal-1"]


def run_of(*arguments: str) -> RayRun:
    parser = argparse.ArgumentParser()
    configure_ray(parser)
    return RayRun(**vars(parser.parse_args(arguments)))


def test_posts_get_the_settings_of_the_command_and_the_database_out_of_sight(tmp_path: Path) -> None:
    """The address of the database has a password in it, and everybody sees arguments of processes."""
    given = {"tts": "beep", "database_url": "postgresql://u:secret@db/v", "port": "7900", "node_name": "n"}
    settings = Settings(data_dir=tmp_path / "a" / ".." / "data", host="0.0.0.0", **given)  # type: ignore[arg-type]
    order = order_of("portal", settings, given)
    assert order == Order(
        "portal",
        (f"--data-dir={tmp_path / 'data'}", "--tts=beep"),
        {"VIVAVOCE_DATABASE_URL": "postgresql://u:secret@db/v"},
        "0.0.0.0",
        7900,
        30.0,
    )


def test_a_cluster_needs_a_database_and_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told with its remedy."""
    with pytest.raises(VivavoceError, match="share a Postgres database"):
        conduct(run_of(), Settings(data_dir=tmp_path), {}, lambda _line: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    database = SecretStr("postgresql://u@db/v")
    with pytest.raises(VivavoceError, match="Ray is not installed") as told:
        conduct(run_of(), Settings(data_dir=tmp_path, database_url=database), {}, lambda _line: None)
    assert "fetch ray" in told.value.hint
