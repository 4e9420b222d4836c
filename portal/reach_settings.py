"""Settings of how pictures and sound reach viewers, over WebRTC or the WebSocket. `settings.py` has all settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from pipeline.transports.ice import IceServer, Reach, turn_with_secret
from pipeline.transports.turn_service import TurnService
from portal.http.addresses import parse_ports
from portal.setting_values import PortRange, UrlPart, WebRtcAddress, Words
from portal.talk_settings import TalkSettings

__all__ = ["ReachSettings"]


class ReachSettings(TalkSettings):
    """How pictures and sound reach viewers."""

    transport: Literal["auto", "webrtc", "websocket"] = Field(
        "auto",
        description="how pictures and sound travel; auto: by WebRTC, or by the WebSocket where WebRTC cannot connect",
    )
    webrtc_address: WebRtcAddress = Field(
        "",
        description="public address of this machine, e.g. 203.0.113.7, where a router or a cloud maps it to the "
        "machine's own; viewers are offered both; default: its own only",
    )
    webrtc_ports: PortRange = Field(
        "", description="UDP ports of WebRTC, e.g. 40000-40999: one for each viewer and watcher; default: any"
    )
    stun_urls: Words = Field((), description="STUN servers, e.g. stun:stun.example.org:3478; default: none")
    turn_urls: Words = Field(
        (), description="TURN servers, e.g. turn:turn.example.org:3478?transport=udp; default: none"
    )
    turn_username: str = Field("", description="user name for the TURN servers")
    turn_password: SecretStr = Field(
        SecretStr(""), description="password for the TURN servers; rather set VIVAVOCE_TURN_PASSWORD"
    )
    turn_secret: SecretStr = Field(
        SecretStr(""),
        description="what the portal shares with the TURN servers instead of a password (coturn: static-auth-secret); "
        "rather set VIVAVOCE_TURN_SECRET",
    )
    turn_lifetime_s: int = Field(
        21_600,
        ge=300,
        description="seconds for which a viewer's TURN credentials are valid, with turn_secret or turn_service",
    )
    turn_service: Literal["none", "cloudflare", "twilio"] = Field(
        "none", description="company that lends TURN servers for a token, beside turn_urls"
    )
    turn_service_key: UrlPart = Field(
        "", description="id of the TURN key (Cloudflare) or SID of the account (Twilio) with turn_service"
    )
    turn_service_token: SecretStr = Field(
        SecretStr(""),
        description="API token of that TURN key (Cloudflare) or auth token of that account (Twilio); rather set "
        "VIVAVOCE_TURN_SERVICE_TOKEN",
    )
    video_bitrate_bps: int = Field(1_000_000, ge=100_000, le=20_000_000, description="bits per second of WebRTC video")
    jpeg_quality: int = Field(75, ge=10, le=95, description="JPEG quality of pictures over the WebSocket, 10 to 95")

    @field_validator("turn_service_token")
    @classmethod
    def _goes_with_its_service(cls, token: SecretStr, given: ValidationInfo) -> SecretStr:
        if given.data.get("turn_service", "none") != "none" and not (
            given.data.get("turn_service_key") and token.get_secret_value()
        ):
            raise ValueError("turn_service needs turn_service_key and turn_service_token; set both")
        return token

    @property
    def reach(self) -> Reach:
        """By which address and UDP ports viewers reach this machine."""
        return Reach(self.webrtc_address, parse_ports(self.webrtc_ports) if self.webrtc_ports else None)

    def ice_servers(self, now_unix_s: float) -> tuple[IceServer, ...]:
        """Return the operator's STUN and TURN servers, for both ends of a connection that begins now.

        now_unix_s: seconds since the epoch; TURN credentials expire `turn_lifetime_s` after it. More servers come from
        turn_lender().
        """
        servers = []
        if self.stun_urls:
            servers.append(IceServer(self.stun_urls))
        if self.turn_urls:
            servers.append(self._turn_server(now_unix_s))
        return tuple(servers)

    def turn_lender(self) -> TurnService | None:
        """Return the company that lends more TURN servers, if one is set. The caller has to close it."""
        if self.turn_service == "none":
            return None
        return TurnService(self.turn_service, self.turn_service_key, self.turn_service_token.get_secret_value())

    def _turn_server(self, now_unix_s: float) -> IceServer:
        if secret := self.turn_secret.get_secret_value():
            expires_unix_s = int(now_unix_s) + self.turn_lifetime_s
            return turn_with_secret(self.turn_urls, secret, self.turn_username or "vivavoce", expires_unix_s)
        return IceServer(self.turn_urls, self.turn_username or None, self.turn_password.get_secret_value() or None)
