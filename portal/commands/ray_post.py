"""A post: one portal or worker that is kept running on a machine of a Ray cluster, from an actor of Ray."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["ActorPost", "Look", "Machine", "Order", "Post", "Process", "Surroundings"]

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
PORTS = 10
"From the first one, for the portals of one machine."
HEALTH_WITHIN_S = 5.0
READY_WITHIN_S = 240.0
"Networks are loaded and measured first."
SILENT_S = 30.0
"A portal that was ready, and has not answered for so long, is started again."
END_WITHIN_S = 15.0
"Beyond the time in which answers may be heard to their end."
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
TICK_S = 1.0
STEADY_S = 300.0
"What ran for so long and then ended is started again without a long pause."

State = Literal["starting", "ready", "leaving", "ended"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to run. host, port: where a portal listens; one whose port is taken gets one of the next.

    arguments: of the command line. secrets: environment variables, which other users of the machine cannot read.
    drain_s: within which a portal lets answers be heard to their end.
    """

    kind: Literal["portal", "worker"]
    arguments: tuple[str, ...] = ()
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    host: str = "127.0.0.1"
    port: int = 7860
    drain_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a post is seen to do. node: what its portal is called in the database; "" of a worker."""

    kind: str
    state: State
    node: str = ""
    port: int = 0
    starts: int = 0
    status: int | None = None
    "with which it ended last"


class Process(Protocol):
    """What runs at a post."""

    def poll(self) -> int | None:
        """Its exit status once it has ended."""

    def stop(self) -> None:
        """As SIGTERM does: it ends in order. Idempotent."""

    def kill(self) -> None: ...


class Surroundings(Protocol):
    """The machine of a post."""

    def now_s(self) -> float: ...

    def name(self) -> str:
        """Of the machine."""

    def port_from(self, host: str, port: int) -> int:
        """The first from there that is free. Raises OSError: none is."""

    def start(self, arguments: list[str], secrets: dict[str, str]) -> Process:
        """`launch.py` with these arguments. It stops, as by SIGTERM, when this process is gone. Raises OSError."""

    def answers(self, host: str, port: int, node: str) -> bool:
        """Whether the portal of that name answers there, whatever else it says of itself."""


class Post:
    """tick() about once a second, from one thread. look() and drain() may come from another one."""

    def __init__(self, order: Order, around: Surroundings) -> None:
        self._order = order
        self._around = around
        self._process: Process | None = None
        self._node = ""
        self._port = 0
        self._starts = 0
        self._status: int | None = None
        self._is_ready = False
        self._is_leaving = False
        self._pause_s = FIRST_PAUSE_S
        self._next_s = around.now_s()
        self._began_s = 0.0
        self._heard_s = 0.0
        self._end_by_s: float | None = None

    def look(self) -> Look:
        state: State = "ready" if self._is_ready else "starting"
        if self._is_leaving:
            state = "ended" if self._process is None else "leaving"
        return Look(self._order.kind, state, self._node, self._port, self._starts, self._status)

    def drain(self) -> None:
        """Let it end: viewers hear their answers to the end and go to other nodes; a worker leaves its job to others.

        Returns at once; look() says when it has ended. Idempotent.
        """
        self._is_leaving = True

    def tick(self) -> None:
        """Raises OSError; the next tick tries again."""
        now_s = self._around.now_s()
        if self._process is not None and (status := self._process.poll()) is not None:
            self._note_end(self._process, status, now_s)
        if self._is_leaving:
            self._end(now_s)
        elif self._process is None:
            if now_s >= self._next_s:
                self._start(now_s)
        else:
            self._watch(self._process, now_s)

    def _start(self, now_s: float) -> None:
        arguments = list(self._order.arguments)
        if self._order.kind == "portal":
            self._port = self._around.port_from(self._order.host, self._order.port)
            self._node = f"{self._around.name()}-{self._port}"
            arguments += [f"--port={self._port}", f"--node-name={self._node}", "--no-worker", "--no-browser"]
        else:
            arguments.insert(0, "worker")
        self._process = self._around.start(arguments, self._order.secrets)
        self._starts += 1
        self._began_s = self._heard_s = now_s

    def _watch(self, process: Process, now_s: float) -> None:
        if self._order.kind == "worker":  # it watches itself (portal/worker/runner.py)
            self._is_ready = True
        elif self._around.answers(self._order.host, self._port, self._node):
            self._is_ready, self._heard_s = True, now_s
        elif now_s - self._heard_s > (SILENT_S if self._is_ready else READY_WITHIN_S):
            self._is_ready = False
            process.kill()

    def _note_end(self, process: Process, status: int, now_s: float) -> None:
        process.stop()  # where only the holder of its leash was killed, what it held
        if now_s - self._began_s > STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        self._process, self._is_ready, self._status = None, False, status
        self._next_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _end(self, now_s: float) -> None:
        if self._process is None:
            return
        if self._end_by_s is None:
            self._process.stop()
            self._end_by_s = now_s + self._order.drain_s + END_WITHIN_S
        elif now_s > self._end_by_s:
            self._process.kill()


class Leashed:
    """A Process of `ray_leash`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Machine:
    """The real Surroundings."""

    def now_s(self) -> float:
        return time.monotonic()

    def name(self) -> str:
        return socket.gethostname()

    def port_from(self, host: str, port: int) -> int:
        for candidate in range(port, port + PORTS):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with suppress(OSError), socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the portal does
                probe.bind((host, candidate))
                probe.listen()  # only this shows whether another program does
                return candidate
        raise OSError(errno.EADDRINUSE, f"none of the ports {port} to {port + PORTS - 1} of {host} is free")

    def start(self, arguments: list[str], secrets: dict[str, str]) -> Process:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return Leashed(
            subprocess.Popen(
                [sys.executable, "-m", "portal.commands.ray_leash", *arguments],
                stdin=subprocess.PIPE,
                env={**os.environ, **secrets, "PYTHONPATH": path},
                start_new_session=True,  # a group of its own, which is killed as a whole
            )
        )

    def answers(self, host: str, port: int, node: str) -> bool:
        meant = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        connection = HTTPConnection(meant, port, timeout=HEALTH_WITHIN_S)
        try:
            connection.request("GET", "/healthz")
            health = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError):
            return False
        finally:
            connection.close()
        # Two posts may have chosen the same port at once. One of their portals has it then, and the other one ends.
        return isinstance(health, dict) and health.get("node") == node


class ActorPost:
    """A post, as Ray runs it in a process of its own."""

    def __init__(self, order: Order) -> None:
        self._post = Post(order, Machine())
        threading.Thread(target=self._keep_on, name="post", daemon=True).start()

    def look(self) -> tuple[Look, str]:
        """And the address of the machine."""
        import ray.util

        return self._post.look(), ray.util.get_node_ip_address()

    def drain(self) -> None:
        self._post.drain()

    def _keep_on(self) -> None:
        while True:
            try:
                self._post.tick()
            except Exception:  # no port, no room for a process: all pass
                logger.exception("what this post runs cannot be started or looked after now")
            time.sleep(TICK_S)
