"""`python -m tests.portal.ray_machines`: a Ray cluster for tests, whose two machines both run on this one.

It prints a line of JSON with the cluster's address and its machines' processes. Each line on standard input adds a
machine, and is answered with such a line. When standard input closes, everything ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from portal.commands.portal_process import free_port

__all__ = ["main"]

CPUS = 4
"More than the posts of one machine need, so that the posts of a lost machine have room on the other."
MEMORY_BYTES = 80 * 2**20
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Ports of Ray's agents. Ray ends if an agent has not reported its port within 15 s, and this time cannot be changed
(ray#65983). On a busy machine the agents take longer to load. Ray does not wait for ports that are given to it."""
LISTEN_PORT = "dashboard_agent_listen_port"
"This port is not passed on to the process that waits for it: it reads the port from a file of this name."


def main() -> None:
    import ray._private.services as services
    from ray.cluster_utils import Cluster

    start = services.start_raylet

    def start_with_port(redis: str, gcs: str, node_id: str, *rest: Any, **named: Any) -> Any:
        session_dir = Path(rest[8])
        (session_dir / f"{LISTEN_PORT}_{node_id}").write_text(str(named[LISTEN_PORT]))
        return start(redis, gcs, node_id, *rest, **named)

    vars(services)["start_raylet"] = start_with_port
    cluster: Any = Cluster()
    for number in range(2):
        cluster.add_node(**options(), **({"include_dashboard": False} if number == 0 else {}))
    nodes = [cluster.head_node, *cluster.worker_nodes]
    tell({"address": cluster.address, "machines": [pid_of(node) for node in nodes]})
    for _line in sys.stdin:
        tell({"address": cluster.address, "machines": [pid_of(cluster.add_node(**options()))]})
    cluster.shutdown()


def options() -> dict[str, object]:
    return {"num_cpus": CPUS, "object_store_memory": MEMORY_BYTES, **{name: free_port() for name in AGENTS}}


def pid_of(node: object) -> int:
    (raylet,) = node.all_processes["raylet"]  # type: ignore[attr-defined]
    pid: int = raylet.process.pid
    return pid


def tell(words: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
