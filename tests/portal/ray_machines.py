"""`python -m tests.portal.ray_machines`: a Ray cluster of two machines that are this one, for tests.

Says in a line of JSON where it is and which processes its machines are. A line on standard input adds a machine, which
is answered in the same way. When it closes, everything ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from portal.commands.portal_process import free_port

__all__ = ["main"]

CPUS = 4
"More than the posts of a machine need, so that those of a machine that is lost find room at the other."
MEMORY_BYTES = 80 * 2**20
AGENTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Ray ends if it is not told within 15 s where its agents listen, and nothing changes that time (ray#65983). On a busy
machine they need longer to load. It does not wait for ports that it is given."""
LISTEN_PORT = "dashboard_agent_listen_port"
"The one that is not handed on to the process that waits: it reads it in a file of this name."


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
