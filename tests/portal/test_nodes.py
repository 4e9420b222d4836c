"""Portals that share a database and a data folder, as real processes: a conversation outlives the one that had it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from portal.api.draining import RESTART
from portal.commands.portal_process import PortalProcess, free_port, running_portal
from tests.certificates import operators_certificate
from tests.portal.grey_manager import write_grey_avatar
from tests.portal.kept_states import nodes_in, states_in
from tests.portal.node_viewer import NodeViewer
from tests.portal.postgres import Postgres

pytestmark = pytest.mark.thorough

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SENTENCE = "one two three four five six seven eight"
LONG = ". ".join([SENTENCE] * 60) + "."
"""Two minutes of it: on a slow machine, too, it is still being spoken when its node is killed."""
ANSWERED = ". ".join([SENTENCE] * 2) + "."
"Some seconds of it."
OPTIONS = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--avatar", "grey")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
Note = Callable[[str, object], None]


class Nodes:
    """Two portals at a time; whichever a test has killed is started again for the next one."""

    def __init__(self, data_dir: Path, database_url: str, stack: ExitStack) -> None:
        write_grey_avatar(data_dir / "avatars" / "grey")
        self.database_url = database_url
        self._data_dir, self._stack = data_dir, stack
        self._portals: dict[str, PortalProcess] = {}
        self._dead = {"left", "right"}
        self.complete()

    def complete(self) -> None:
        for name in sorted(self._dead):
            port = self._portals[name].port if name in self._portals else 0
            options = (*OPTIONS, "--node-name", name, "--database-url", self.database_url)
            running = running_portal(self._data_dir, *options, port=port, log_name=f"{name}.log")
            self._portals[name] = self._stack.enter_context(running)
        self._dead.clear()

    @property
    def ports(self) -> list[int]:
        return [portal.port for portal in self._portals.values()]

    def kill_the_one_that_talks(self) -> None:
        """kill -9 of the node of the only session that goes on."""
        self._end_the_one_that_talks(signal.SIGKILL)

    def stop_the_one_that_talks(self) -> PortalProcess:
        """As systemd and Kubernetes do it. It is no node that goes on."""
        return self._end_the_one_that_talks(signal.SIGTERM)

    def _end_the_one_that_talks(self, sent: signal.Signals) -> PortalProcess:
        until_s = time.monotonic() + 60
        while len(nodes := nodes_in(self.database_url)) != 1 and time.monotonic() < until_s:
            time.sleep(0.02)  # what the test before has left is erased in its own time
        (node,) = nodes
        name = node.rpartition("-")[0]
        os.kill(self._portals[name].pid, sent)
        self._dead.add(name)
        return self._portals[name]


@pytest.fixture(scope="module")
def all_nodes(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path_factory.mktemp("nodes"), postgres.new_database("nodes"), stack)


@pytest.fixture
def nodes(all_nodes: Nodes) -> Nodes:
    all_nodes.complete()
    return all_nodes


@asynccontextmanager
async def front_of(ports: list[int], *, asks_health: bool = False) -> AsyncIterator[int]:
    """Passes each new connection on to the first port that takes it. Gives its own port.

    asks_health: and whose node is well, as a load balancer finds out.
    """
    passing: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in ports:
            try:
                if asks_health and not await is_well(port):
                    continue
                to_node = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            for source, target in ((reader, to_node[1]), (to_node[0], writer)):
                passing.add(asyncio.create_task(_pass_on(source, target)))
            return
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


async def is_well(port: int) -> bool:
    """Raises OSError: nobody is there."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success
    except httpx.TransportError as error:
        raise ConnectionError(port) from error


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass  # one end is gone, so the other one goes, too
    finally:
        target.close()


async def lose_the_node_in_mid_answer(nodes: Nodes, viewer: NodeViewer, note: Note) -> None:
    """And go on: with history, told where the answer was cut."""
    before = [{"role": "user", "content": "Do you know the pier?"}, {"role": "assistant", "content": "I do."}]
    await viewer.hello(avatar="grey", history=before)
    await viewer.say(LONG)
    for _ in range(2):
        await viewer.until("subtitle")
    await kept(nodes.database_url, f'"played":"{SENTENCE}')
    await asyncio.to_thread(nodes.kill_the_one_that_talks)
    killed_s = time.monotonic()
    await viewer.until_lost()
    welcome = await viewer.come_back()
    welcomed_s = time.monotonic()
    await viewer.say("And now?")
    await viewer.until("turn", state="speaking")
    note("welcomed_again_after_s", round(welcomed_s - killed_s, 2))
    note("talking_again_after_s", round(time.monotonic() - killed_s, 2))
    cut = welcome["restored"]["cut"]
    assert cut != LONG and SENTENCE in cut
    await kept(nodes.database_url, "And now?")
    (state,) = (state for state in states_in(nodes.database_url) if "And now?" in state)
    assert "Do you know the pier?" in state and SENTENCE in state


async def stop_the_node_in_mid_answer(nodes: Nodes, viewer: NodeViewer, note: Note) -> None:
    """It is heard to its end, and another node answers the next question, with what was said before."""
    await viewer.hello(avatar="grey")
    await viewer.say(ANSWERED)
    await viewer.until("subtitle")
    stopped = await asyncio.to_thread(nodes.stop_the_one_that_talks)
    told_s = time.monotonic()
    assert await asyncio.to_thread(health_of, stopped) == (503, "stopping")
    await viewer.until("turn", state="done")
    done_s = time.monotonic()
    assert await viewer.until_lost() == RESTART
    welcome = await viewer.come_back()
    note("heard_for_s_after_sigterm", round(done_s - told_s, 2))
    note("welcomed_elsewhere_s_after_its_end", round(time.monotonic() - done_s, 2))
    assert (welcome["resumed"], welcome["restored"]) == (False, {"cut": None})
    await viewer.say("And now?")
    await viewer.until("turn", state="speaking")
    await kept(nodes.database_url, "And now?")
    (state,) = (state for state in states_in(nodes.database_url) if "And now?" in state)
    assert [one["content"] for one in json.loads(state)["wish"]["history"]][:2] == [ANSWERED, ANSWERED]


def health_of(portal: PortalProcess) -> tuple[int, str]:
    """Once it is about to stop."""
    until_s = time.monotonic() + 60
    while True:
        answer = httpx.get(f"{portal.url}/healthz", trust_env=False)
        if answer.status_code != 200 or time.monotonic() > until_s:
            return answer.status_code, answer.json()["status"]
        time.sleep(0.02)


async def kept(database_url: str, part: str) -> None:
    """Return when what is kept of a session has it."""
    async with asyncio.timeout(60):
        while not any(part in state for state in await asyncio.to_thread(states_in, database_url)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextmanager
def running_nginx(program: str, nodes: Nodes, folder: Path) -> Iterator[int]:
    """The files of deploy/ that an operator copies, with the ports of the nodes. Gives the port of HTTPS."""
    port = free_port()
    signed, certificate, key = operators_certificate(), folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.chain)
    key.write_bytes(signed.key)
    front = (DEPLOY / "nginx.conf").read_text(encoding="utf-8").replace("127.0.0.1:7860", "vivavoce_nodes")
    front = "".join(line for line in front.splitlines(keepends=True) if "listen [::]" not in line)
    front = front.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    front = front.replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    front = front.replace("/etc/letsencrypt/live/avatar.example.org/fullchain.pem", str(certificate))
    front = front.replace("/etc/letsencrypt/live/avatar.example.org/privkey.pem", str(key))
    several = (DEPLOY / "nginx-nodes.conf").read_text(encoding="utf-8")
    for example, node_port in zip(("10.0.0.11:7860", "10.0.0.12:7860"), nodes.ports, strict=True):
        assert example in several
        several = several.replace(example, f"127.0.0.1:{node_port}")
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "vivavoce.conf").write_text(front)
    (folder / "conf.d" / "nodes.conf").write_text(several)
    folders = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}scgi_temp_path {folder / 'scgi'};\n"
        f"include {folder / 'conf.d'}/*.conf;\n}}\n"
    )
    checked = subprocess.run([program, "-t", "-c", str(whole)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "emerg" not in checked.stderr
    running = subprocess.Popen([program, "-c", str(whole)])
    try:
        _wait_until_it_listens(running, port)
        yield port
    finally:
        running.terminate()
        running.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < until_s
            time.sleep(0.02)
        else:
            return


@pytest.fixture
async def viewer(nodes: Nodes, tmp_path: Path) -> AsyncIterator[NodeViewer]:
    """A viewer who reaches both nodes by one address: that of nginx, or where it is missing, of a front of ours.

    One of them is enough: each test ends a node, and a node takes long to start.
    """
    if NGINX is None:
        async with (
            front_of(nodes.ports, asks_health=True) as port,
            NodeViewer(f"ws://127.0.0.1:{port}/session") as viewer,
        ):
            yield viewer
        return
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with running_nginx(NGINX, nodes, tmp_path) as port:
        async with NodeViewer(f"wss://127.0.0.1:{port}/session", context) as viewer:
            yield viewer


async def test_a_conversation_outlives_its_node(nodes: Nodes, viewer: NodeViewer, record_property: Note) -> None:
    """kill -9 in the middle of an answer; the viewer comes back by the same address."""
    await lose_the_node_in_mid_answer(nodes, viewer, record_property)


async def test_an_answer_outlives_the_word_to_stop(nodes: Nodes, viewer: NodeViewer, record_property: Note) -> None:
    await stop_the_node_in_mid_answer(nodes, viewer, record_property)
