"""The Postgres table that keeps sessions, so that a viewer whose node has died can go on at another node.

`vivavoce.sessions` has a row for each session with a session socket, and `vivavoce.nodes` one for each portal that
shares the database. Sessions outlive their node by the time that the operator has set. This table decides which node
has a session: a token can be used only once. All times are by the database's clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.postgres_tables import PostgresTables

__all__ = ["NODE_SILENT_S", "Claimed", "KeptSession", "Node", "SessionTable", "nodes_of"]

PATIENCE_S = 2.0
"How long a call waits for the database."
NODE_SILENT_S = 15
"A portal that has not reported for this long counts as gone."
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS vivavoce",
    """CREATE TABLE IF NOT EXISTS vivavoce.nodes (
        id text PRIMARY KEY, name text NOT NULL, taken integer NOT NULL, places integer NOT NULL,
        seen_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS vivavoce.sessions (
        id text PRIMARY KEY, node text NOT NULL, token text NOT NULL, owner text NOT NULL, avatar text NOT NULL,
        state text NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS sessions_by_token ON vivavoce.sessions (token)",
    "CREATE INDEX IF NOT EXISTS sessions_by_node ON vivavoce.sessions (node)",
)
_REVOKED_TOKEN = ""
"The token of a session that goes on elsewhere, or whose avatar was erased."


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session as it is written.

    token: the hash of the viewer's token. owner: who has logged in, "" for nobody. state: JSON; see
    portal/api/restoring.py.
    """

    id: str
    token: str
    owner: str
    avatar: str
    state: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A session that was claimed by its token. The token leads nowhere now, unless the session is given back."""

    id: str
    token: str
    state: str


@dataclass(frozen=True, slots=True)
class Node:
    """A portal. id: unique for each process. name: what people call it. taken, places: of its places for sessions."""

    id: str
    name: str
    taken: int
    places: int


class SessionTable:
    """The tables of sessions and nodes. Thread-safe.

    Calls block for milliseconds, or for some seconds if the database is away. All raise DatabaseUnreachable.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._tables = PostgresTables(database, _TABLES, PATIENCE_S)

    def write(
        self, node: str, rows: Sequence[KeptSession], back: Sequence[Claimed], erased: Collection[str]
    ) -> set[str]:
        """Write `rows`, give back the claimed sessions in `back`, and delete the sessions whose ids are in `erased`.

        Returns the ids of rows that were not written, because they were claimed elsewhere or erased; see beat().
        """
        with self._tables.transaction() as ask:
            if erased:
                ask("DELETE FROM vivavoce.sessions WHERE id = ANY(:ids)", ids=list(erased))
            for one in back:
                ask(
                    "UPDATE vivavoce.sessions SET token = :token, state = :state WHERE id = :id AND token = :gone",
                    **asdict(one),
                    gone=_REVOKED_TOKEN,
                )
            if not rows:
                return set()
            # Sessions are deleted together with their node's row, so that row has to exist even before the first beat.
            ask(
                "INSERT INTO vivavoce.nodes (id, name, taken, places) VALUES (:node, '', 0, 0) ON CONFLICT DO NOTHING",
                node=node,
            )
            kept = ask(
                "INSERT INTO vivavoce.sessions AS kept (id, node, token, owner, avatar, state) "
                "SELECT id, :node, token, owner, avatar, state FROM jsonb_to_recordset(CAST(:rows AS jsonb)) "
                "AS given(id text, token text, owner text, avatar text, state text) "
                "ON CONFLICT (id) DO UPDATE SET token = excluded.token, avatar = excluded.avatar, "
                "state = excluded.state WHERE kept.token <> :gone RETURNING kept.id",
                node=node,
                rows=json.dumps([asdict(row) for row in rows]),
                gone=_REVOKED_TOKEN,
            )
            return {row.id for row in rows} - set(kept.scalars())

    def claim(self, token: str, owner: str) -> Claimed | None:
        """Take the session that the token leads to; from now on the token leads nowhere.

        Returns None if the token was used before, belongs to another person, or leads to nothing.
        """
        with self._tables.transaction() as ask:
            found = ask(
                "WITH found AS (SELECT id, state FROM vivavoce.sessions WHERE token = :token AND owner = :owner "
                "FOR UPDATE) UPDATE vivavoce.sessions AS kept SET token = :gone, state = '' FROM found "
                "WHERE kept.id = found.id RETURNING found.id, found.state",
                token=token,
                owner=owner,
                gone=_REVOKED_TOKEN,
            ).one_or_none()
            return None if found is None else Claimed(found.id, token, found.state)

    def erase_all_of(self, avatar: str) -> int:
        """Erase the state of all sessions with an avatar. Nodes that still show it learn of that by beat().

        Returns how many sessions there were.
        """
        with self._tables.transaction() as ask:
            erase = "UPDATE vivavoce.sessions SET token = :gone, state = '' WHERE avatar = :avatar"
            return ask(erase, gone=_REVOKED_TOKEN, avatar=avatar).rowcount

    def beat(self, node: Node, keep_s: float) -> set[str]:
        """Report that this node is alive, and delete nodes silent for `keep_s` seconds, with their sessions.

        Returns the ids of this node's sessions that were claimed by others, or whose avatar was erased.
        """
        with self._tables.transaction() as ask:
            ask(
                "INSERT INTO vivavoce.nodes (id, name, taken, places) VALUES (:id, :name, :taken, :places) "
                "ON CONFLICT (id) DO UPDATE SET name = :name, taken = :taken, places = :places, seen_at = now()",
                **asdict(node),
            )
            ask(
                "WITH gone AS (DELETE FROM vivavoce.nodes WHERE seen_at < now() - make_interval(secs => :s) "
                "RETURNING id) DELETE FROM vivavoce.sessions USING gone WHERE sessions.node = gone.id",
                s=keep_s,
            )
            mine = "SELECT id FROM vivavoce.sessions WHERE node = :id AND token = :gone"
            return set(ask(mine, id=node.id, gone=_REVOKED_TOKEN).scalars())

    def close(self) -> None:
        """Close the connections to the database. Idempotent."""
        self._tables.close()


def nodes_of(database: PostgresDatabase) -> list[Node]:
    """Return the portals that share a database and are alive, sorted by name. Raises DatabaseUnreachable."""
    tables = PostgresTables(database, (), PATIENCE_S)
    try:
        with tables.transaction() as ask:
            if ask("SELECT to_regclass('vivavoce.nodes')").scalar() is None:
                return []
            found = ask(
                "SELECT id, name, taken, places FROM vivavoce.nodes "
                "WHERE seen_at > now() - make_interval(secs => :s) ORDER BY name, id",
                s=NODE_SILENT_S,
            )
            return [Node(row.id, row.name, row.taken, row.places) for row in found]
    finally:
        tables.close()
