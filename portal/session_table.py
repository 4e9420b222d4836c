"""The table in which sessions are kept, so that a viewer whose node has died goes on at another one.

`vivavoce.sessions` has a row for each session with a session socket, `vivavoce.nodes` one for each portal that shares
the database. A row outlives its node by the time that the operator has set. Whose turn it is to speak for a session is
decided here: a token leads to a row once. All times are the database's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.postgres_tables import PostgresTables

__all__ = ["NODE_SILENT_S", "Claimed", "KeptSession", "Node", "SessionTable", "nodes_of"]

PATIENCE_S = 2.0
NODE_SILENT_S = 15
"A portal that has not been heard of for so long is counted as gone."
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
_GONE = ""
"The token of a session that goes on elsewhere, or whose avatar was erased."


@dataclass(frozen=True, slots=True)
class KeptSession:
    """token: what leads to it, hashed. owner: who has logged in, "" for nobody. state: JSON of whoever wrote it."""

    id: str
    token: str
    owner: str
    avatar: str
    state: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token has led to. It leads nowhere any more, until it is given back."""

    id: str
    token: str
    state: str


@dataclass(frozen=True, slots=True)
class Node:
    """A portal. id: of the process, which no other has; name: what people call it."""

    id: str
    name: str
    taken: int
    places: int


class SessionTable:
    """Thread-safe; calls block for milliseconds, for some seconds where the database is away. All raise
    DatabaseUnreachable.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._tables = PostgresTables(database, _TABLES, PATIENCE_S)

    def write(
        self, node: str, rows: Sequence[KeptSession], back: Sequence[Claimed], erased: Collection[str]
    ) -> set[str]:
        """Keep `rows` as they are now, give back what was claimed, and erase sessions by their ids.

        Returns the ids of rows that are not kept; see beat().
        """
        with self._tables.asked() as ask:
            if erased:
                ask("DELETE FROM vivavoce.sessions WHERE id = ANY(:ids)", ids=list(erased))
            for one in back:
                ask(
                    "UPDATE vivavoce.sessions SET token = :token, state = :state WHERE id = :id AND token = :gone",
                    **asdict(one),
                    gone=_GONE,
                )
            if not rows:
                return set()
            # Sessions are erased with their node, so there has to be one, also before its first beat.
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
                gone=_GONE,
            )
            return {row.id for row in rows} - set(kept.scalars())

    def claim(self, token: str, owner: str) -> Claimed | None:
        """What the token leads to; None: it was used, it is another person's, or there is nothing (any more)."""
        with self._tables.asked() as ask:
            found = ask(
                "WITH found AS (SELECT id, state FROM vivavoce.sessions WHERE token = :token AND owner = :owner "
                "FOR UPDATE) UPDATE vivavoce.sessions AS kept SET token = :gone, state = '' FROM found "
                "WHERE kept.id = found.id RETURNING found.id, found.state",
                token=token,
                owner=owner,
                gone=_GONE,
            ).one_or_none()
            return None if found is None else Claimed(found.id, token, found.state)

    def erase_all_of(self, avatar: str) -> int:
        """Erase what was said with an avatar; nodes that still show it learn of it by beat(). Returns how many."""
        with self._tables.asked() as ask:
            erase = "UPDATE vivavoce.sessions SET token = :gone, state = '' WHERE avatar = :avatar"
            return ask(erase, gone=_GONE, avatar=avatar).rowcount

    def beat(self, node: Node, keep_s: float) -> set[str]:
        """Say that this node lives, and erase what has outlived its node by `keep_s`.

        Returns the ids of this node's sessions that were claimed by others, or whose avatar was erased.
        """
        with self._tables.asked() as ask:
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
            return set(ask(mine, id=node.id, gone=_GONE).scalars())

    def close(self) -> None:
        """Let go of the database; more than once does no harm."""
        self._tables.close()


def nodes_of(database: PostgresDatabase) -> list[Node]:
    """The portals that share a database and are alive, by name. Changes nothing. Raises DatabaseUnreachable."""
    tables = PostgresTables(database, (), PATIENCE_S)
    try:
        with tables.asked() as ask:
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
