"""Posts as actors of a Ray cluster, and `launch.py ray`, which has the right number of them there.

Ray places them, starts them again elsewhere when their machine is lost, and hands GPUs out. It carries neither pictures
nor sound nor requests: viewers reach portals as they reach any portals behind a proxy (docs/scaling.md).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import VivavoceError
from portal.commands.ray_post import ActorPost, Order
from portal.commands.ray_scaling import Conductor, Kind, Scaling, Seen
from portal.commands.setting_options import arguments_of
from portal.errors import DatabaseUnreachable
from portal.jobs.dbos_database import PostgresDatabase
from portal.session_table import nodes_of
from portal.settings import PREFIX, Settings

__all__ = ["RayCluster", "RayRun", "conduct"]

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "vivavoce"
LOOK_S = 2.0
ANSWERS_WITHIN_S = 1.0
OF_ITS_OWN = frozenset({"data_dir", "database_url", "node_name", "open_browser", "port", "worker"})
"Settings that posts give themselves, or that are handed to them apart."


@dataclass(frozen=True, slots=True)
class RayRun:
    """What is asked for. cpus, gpus: what a portal has of its machine, as Ray counts it; worker_cpus: what a worker."""

    address: str
    portals: int
    most: int
    spare: int
    workers: int
    cpus: float
    gpus: float
    worker_cpus: float
    worker_gpus: float
    stop: bool = False


def conduct(run: RayRun, settings: Settings, given: Mapping[str, object], say: Callable[[str], None]) -> int:
    """Until the process is ended, after which what it has started goes on; with `stop`, until none of it is left.

    given: what settings were on the command line. Returns the exit status. Raises VivavoceError.
    """
    if sys.platform == "win32":
        raise VivavoceError("Portals on a Ray cluster need Linux or macOS.", "Use machines with one of them.")
    url = settings.database_url.get_secret_value()
    if not url:
        raise VivavoceError(
            "Portals on a Ray cluster share a Postgres database, and none is given.",
            "Give it by --database-url, VIVAVOCE_DATABASE_URL or vivavoce.toml (docs/scaling.md).",
        )
    database = PostgresDatabase(url)
    cluster = RayCluster(
        run.address,
        {
            "portal": Wanted(order_of("portal", settings, given), run.cpus, run.gpus),
            "worker": Wanted(order_of("worker", settings, given), run.worker_cpus, run.worker_gpus),
        },
    )
    scaling = Scaling(run.portals, max(run.portals, run.most), run.spare)
    conductor = Conductor(cluster, lambda: nodes_of(database), scaling, run.workers, say)
    if not run.stop:
        say("What starts now goes on when this command ends. To end it: python launch.py ray --stop")
    while True:
        try:
            if run.stop and conductor.end():
                return 0
            if not run.stop:
                conductor.step(time.monotonic())
        except DatabaseUnreachable as error:
            logger.warning("How many viewers there are is not known now: %s", error)
        time.sleep(LOOK_S)


def order_of(kind: Kind, settings: Settings, given: Mapping[str, object]) -> Order:
    arguments = arguments_of({name: value for name, value in given.items() if name not in OF_ITS_OWN})
    return Order(
        kind,
        (f"--data-dir={settings.data_dir.resolve()}", *arguments),
        {f"{PREFIX}DATABASE_URL": settings.database_url.get_secret_value()},
        settings.host,
        settings.port,
        settings.drain_s,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is run at posts of a kind, and how many cores and GPUs each of them has."""

    order: Order
    cpus: float
    gpus: float


class RayCluster:
    """A Cluster. Raises VivavoceError."""

    def __init__(self, address: str, wanted: Mapping[Kind, Wanted]) -> None:
        try:
            import ray
            import ray.util
        except ImportError as error:
            raise VivavoceError("Ray is not installed.", "Run: python launch.py fetch ray") from error
        self._ray: Any = ray
        self._wanted = wanted
        self._asked: dict[str, object] = {}
        "post -> its answer, which may be on its way; a post that does not answer is not asked again"
        try:
            ray.init(
                address,
                namespace=NAMESPACE,
                configure_logging=False,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise VivavoceError(
                f"The Ray cluster at {address} cannot be reached: {error}.",
                "Start Ray on each machine (docs/scaling.md), and give the address of its head: --address HOST:6379",
            ) from error

    def seen(self) -> Sequence[Seen]:
        earlier, self._asked = self._asked, {}
        for name in sorted(self._ray.util.list_named_actors()):
            if _kind_of(name) in self._wanted:
                with suppress(ValueError):  # it has gone meanwhile
                    self._asked[name] = earlier.get(name) or self._ray.get_actor(name).look.remote()
        if self._asked:
            answers = [*self._asked.values()]
            self._ray.wait(answers, num_returns=len(answers), timeout=ANSWERS_WITHIN_S)
        return [self._seen(name) for name in [*self._asked]]

    def place(self, name: str, kind: Kind) -> None:
        wanted = self._wanted[kind]
        self._ray.remote(ActorPost).options(
            name=name,
            lifetime="detached",
            max_restarts=-1,
            num_cpus=wanted.cpus,
            num_gpus=wanted.gpus,
            scheduling_strategy="SPREAD",
        ).remote(wanted.order)

    def drain(self, name: str) -> None:
        with suppress(ValueError):  # it is gone
            self._ray.get_actor(name).drain.remote()

    def remove(self, name: str) -> None:
        with suppress(ValueError):
            self._ray.kill(self._ray.get_actor(name))

    def _seen(self, name: str) -> Seen:
        answered, _ = self._ray.wait([self._asked[name]], timeout=0)
        if not answered:
            return Seen(name, _kind_of(name))
        try:
            look, where = self._ray.get(self._asked.pop(name))
        except self._ray.exceptions.RayError:  # its machine is lost, and Ray starts it again elsewhere
            return Seen(name, _kind_of(name))
        return Seen(name, _kind_of(name), look, where)


def _kind_of(post: str) -> Kind:
    """Posts are called worker-1, portal-2."""
    return "worker" if post.startswith("worker-") else "portal"
