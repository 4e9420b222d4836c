"""All settings of Vivavoce, each defined once, with its type, and its unit in its name.

A value is looked for on the command line (`--max-sessions 4`), then in the environment (`VIVAVOCE_MAX_SESSIONS=4`),
then in the file `vivavoce.toml` of the data folder (`max_sessions = 4`; `--config` names another file), then in what
the surroundings imply (a Hugging Face Space, OPENAI_API_KEY). Otherwise the default written here applies.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from portal.http.addresses import parse_address
from portal.reach_settings import ReachSettings
from portal.setting_sources import FILE_NAME, SettingsError, has_turn, is_in_container, read_file, surroundings
from portal.setting_values import (
    AbsolutePath,
    DatabaseUrl,
    Folder,
    Hosts,
    LongSecret,
    Networks,
    Origins,
    SigningSecret,
    StoreUrl,
    StreamAddresses,
    UrlPath,
    WebAddresses,
    Words,
    absolute,
)

__all__ = ["OPEN_TO_ALL", "PREFIX", "Settings", "is_on_loopback", "is_open_to_all", "option_name"]

PREFIX = "VIVAVOCE_"
OPEN_TO_ALL = (
    "Nobody has to log in: whoever reaches this port may talk, upload, and see and delete all avatars and clips. "
    "Set VIVAVOCE_PASSWORD, or add people with: python launch.py user NAME"
)
"Warning to the operator, shown if is_open_to_all()."
SHARE_EACH = 0.75
"Largest share of the places, or of the UDP ports, that one address may have."


class Settings(ReachSettings):
    """All settings of a portal.

    The descriptions are the help texts of the command line. The key `option` in `json_schema_extra` gives an option a
    name other than the setting's.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    max_sessions: int = Field(8, ge=1, description="most viewers at one time")
    sessions_per_address: int = Field(
        0, ge=0, description="most viewers at one time from one address; 0: three quarters of max_sessions"
    )
    session_idle_timeout_s: float = Field(
        900.0, ge=0, description="seconds after which a session in which nobody speaks ends; 0: never"
    )

    allowed_origins: Origins = Field(
        (),
        description="other websites whose pages may use this portal and show it in a frame, e.g. https://example.org; "
        "default: none",
    )
    trusted_hosts: Hosts = Field(
        (),
        description="public host names of this portal, e.g. portal.example.org or *.example.org; *: any name; "
        "default: none",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.0/8", "::1"),
        description="addresses or networks of proxies whose X-Forwarded-* headers are believed; in a container, "
        "those of Docker and Podman are added",
    )
    password: SecretStr = Field(
        SecretStr(""),
        description="whoever knows it may log in and do everything; rather set VIVAVOCE_PASSWORD; default: no login",
    )
    users_file: AbsolutePath | None = Field(
        None,
        description="file of the people who may log in, written by `launch.py user`; default: users.json in the data "
        "folder",
    )
    token_secret: LongSecret = Field(
        SecretStr(""),
        description="what a product that embeds this portal signs its tokens with (JWT, HS256), 32 bytes or more; "
        "rather set VIVAVOCE_TOKEN_SECRET",
    )
    login_header: str = Field(
        "",
        description="header in which a trusted proxy names who has logged in there, e.g. X-Forwarded-User",
    )
    login_header_role: Literal["viewer", "maker", "admin"] = Field(
        "maker", description="role of people whom that proxy names and no file of users knows"
    )
    max_connections: int = Field(
        1000,
        ge=16,
        description="most open connections, WebSockets included; beyond, those that ask for nothing are ended",
    )
    root_path: UrlPath = Field("", description="path below which a proxy shows the portal, e.g. /avatar; default: none")
    kiosk: bool = Field(
        False, description="show the stage view alone: no tabs, and no way to upload, delete or look at jobs"
    )
    livetalking: bool = Field(
        False, description="also answer the HTTP API of LiveTalking, for clients that were written for it"
    )
    livetalking_admin: bool = Field(
        False, description="answer its admin routes, too; they show every caller the ids of all sessions"
    )
    gradio_api: bool = Field(
        False,
        description="let programs list and make avatars and clips by Gradio's client and by MCP; not with --kiosk",
    )
    livetalking_avatars: bool = Field(
        False,
        description="take its avatar tasks, too; they do not ask whether the person shown agrees, so whoever turns "
        "this on answers for that",
    )
    pages: Folder | None = Field(
        None,
        description="folder of pages that were written for LiveTalking, served as they are; their scripts may do what "
        "the portal's own page may",
    )
    watch_links: bool = Field(
        False,
        description="let viewers copy a link on which others watch their session, without taking part; "
        "not with --kiosk",
    )
    push_to: StreamAddresses = Field(
        (),
        description="streaming servers to which programs may send their sessions, e.g. rtmp://a.rtmp.youtube.com/live2 "
        "(then all below it is allowed, whatever the key) or whip+https://server/live; default: none",
    )
    audit: bool = Field(
        True, description="write who changed what to audit.jsonl, and who logged in or was refused to audit_tried.jsonl"
    )
    webhook: WebAddresses = Field(
        (),
        description="addresses that are told, by POST requests, of sessions, turns, recordings and jobs, e.g. "
        "https://example.org/hook; default: none",
    )
    webhook_secret: SigningSecret = Field(
        SecretStr(""),
        description="what these requests are signed with, 32 bytes or more; rather set VIVAVOCE_WEBHOOK_SECRET",
    )
    webhook_networks: Networks = Field(
        (),
        description="private networks to which names of webhooks may lead, e.g. 10.0.0.0/8; addresses in digits and "
        "names such as nas or nas.lan need none; default: none",
    )
    livetalking_notify: WebAddresses = Field(
        (),
        description="addresses below which clients of LiveTalking's API may have the state of their tasks sent "
        "(notifyurl); default: none",
    )
    max_upload_bytes: int = Field(300_000_000, ge=1_000_000, description="largest file that is taken, in bytes")
    keep_free_bytes: int = Field(
        500_000_000, ge=0, description="of the data folder's disk: uploads and jobs that would leave less are refused"
    )
    jobs_per_address: int = Field(12, ge=1, description="most jobs of one address that wait or run at one time")
    clips_keep_s: float = Field(0.0, ge=0, description="seconds after which a made clip is removed; 0: never")
    clip_label: Literal["start", "always", "off"] = Field(
        "start",
        description="when the pictures of a made clip say that it is AI-generated: for the first 3 s, always, or off "
        "(the law of many countries asks for it); its metadata says so in any case",
    )
    c2pa: bool = Field(
        False,
        description="sign clips and recordings (C2PA, Content Credentials), with the certificate below or, without "
        "one, with one that is made in the data folder and that others do not trust",
    )
    c2pa_certificate: AbsolutePath | None = Field(
        None, description="file with the certificate that signs, then those that vouch for it (PEM); turns c2pa on"
    )
    c2pa_key: AbsolutePath | None = Field(None, description="file with the key of that certificate (PEM, no password)")
    sound_mark: bool = Field(
        False,
        description="mark the sound of clips and recordings so that AudioSeal's detector knows it; needs "
        "`launch.py fetch audioseal`",
    )
    frame_mark: bool = Field(
        False,
        description="clear the lowest bit of the first row of each picture of clips and recordings, as LiveTalking "
        "does; hardly any coding keeps that, see docs/operating.md",
    )
    recording: bool = Field(True, description="viewers may record their sessions and download the recording")
    recording_longest_s: float = Field(3600.0, ge=1, description="seconds after which a recording ends by itself")
    recordings_keep_s: float = Field(86_400.0, gt=0, description="seconds for which a recording can be downloaded")
    recordings_most_bytes: int = Field(
        4_000_000_000,
        ge=0,
        description="of all recordings together: beyond that, the oldest are removed",
    )
    database_url: DatabaseUrl = Field(
        SecretStr(""),
        description="Postgres in which jobs are kept, so that workers on several machines may run them, as "
        "postgresql://USER:PASSWORD@HOST:5432/DATABASE; rather set VIVAVOCE_DATABASE_URL; default: a file in the data "
        "folder",
    )
    store_url: StoreUrl = Field(
        "",
        description="store that several machines share, for avatars, clips and uploads, e.g. s3://bucket/folder or "
        "file:///mnt/share; keys of an S3 service come from the environment (AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL); default: the data folder",
    )
    store_copies_bytes: int = Field(
        20_000_000_000,
        ge=0,
        description="with store_url: of all copies of what lies there, in bytes; beyond that, those that nobody has "
        "used for longest are removed here",
    )
    sessions_keep_s: float = Field(
        600.0,
        ge=0,
        description="with database_url: seconds for which a session is kept there when its portal is lost or stops, so "
        "that its viewer goes on at another one; 0: sessions are never kept there",
    )
    drain_s: float = Field(
        30.0,
        ge=0,
        description="seconds for which a portal that is told to stop (SIGTERM) lets answers be heard to their end; 0: "
        "it cuts them off",
    )
    node_name: str = Field(
        "",
        max_length=100,
        description="what this portal is called among several of one database; default: the host name",
    )
    worker: bool = Field(
        True, description="let the portal start the worker process that runs jobs; off: run `launch.py worker` yourself"
    )
    worker_idle_s: float = Field(60.0, gt=0, description="seconds without a job after which the worker process ends")
    job_silence_s: float = Field(
        1800.0, gt=0, description="seconds without progress after which a job is given up and its worker is ended"
    )

    weights_dir: AbsolutePath | None = Field(
        None,
        description="folder with the networks' weights; default: weights in the data folder",
        json_schema_extra={"option": "weights"},
    )
    device: Words = Field(
        ("auto",), description="devices on which networks run: auto, cpu, cuda:0, mps, ...; several share the sessions"
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="number format of the lip-sync networks; auto: fp16 on a GPU, fp32 on the CPU"
    )
    compile_networks: bool = Field(
        False,
        description="compile the networks with torch.compile: faster drawing, but the start takes minutes longer",
        json_schema_extra={"option": "compile"},
    )
    measure_speed: bool = Field(
        True, description="measure how fast networks draw here, and refuse sessions for which the devices are too slow"
    )
    acting: bool = Field(
        True, description="heads nod and raise their brows on stressed words; --no-acting: only lips follow the voice"
    )
    match_colour: bool = Field(
        False, description="match the colours of mouths that a network drew to the frame around them"
    )
    sharpen: float = Field(
        0.0, ge=0, le=1, description="sharpening of mouths that a network drew, from 0 (none) to 1 (strong)"
    )
    null_batch_ms: float = Field(5.0, ge=0, description="for measuring with lip-sync null: milliseconds per batch")
    null_picture_ms: float = Field(
        3.0, ge=0, description="for measuring with lip-sync null: milliseconds added per picture"
    )

    @property
    def weights_folder(self) -> Path:
        """The folder with the networks' weights."""
        return self.weights_dir or self.data_dir / "weights"

    @property
    def node(self) -> str:
        """The portal's name among several that share a database; "" if there is no such database."""
        return (self.node_name or socket.gethostname()) if self.database_url.get_secret_value() else ""

    @property
    def places_each(self) -> int:
        """How many of the `max_sessions` places viewers from one address may have."""
        return self.sessions_per_address or math.ceil(SHARE_EACH * self.max_sessions)

    @property
    def ports_each(self) -> int:
        """How many of the `webrtc_ports` one address may have; never fewer than its viewers need."""
        return max(self.places_each, math.ceil(SHARE_EACH * len(self.reach.ports or ())))

    def offers_service(self, tts: str) -> bool:
        """Whether viewers may choose a voice whose service runs at its usual port on this machine.

        They may if the portal can only be reached from this machine: then the viewer is the person who started that
        service, and should not have to set it up once more. Otherwise the operator has to name the voice.
        """
        is_own = is_on_loopback(self) and not self.needs_login and not self.trusted_hosts
        return is_own or tts in (self.tts, *self.tts_services)

    def with_secrets(self) -> bytes:
        """Return all settings as one line of JSON, with passwords and keys in clear text.

        This is for our own child processes, never for a log.
        """
        secrets = {name: value.get_secret_value() for name, value in self if isinstance(value, SecretStr)}
        return json.dumps({**self.model_dump(mode="json"), **secrets}).encode()

    @property
    def users_path(self) -> Path:
        """Path of the file of people who may log in, whether the file exists or not."""
        return self.users_file or self.data_dir / "users.json"

    @property
    def needs_login(self) -> bool:
        """Whether any way to log in is set up."""
        secrets = (self.password, self.token_secret)
        return (
            any(secret.get_secret_value() for secret in secrets) or bool(self.login_header) or self.users_path.exists()
        )

    @property
    def signs_clips(self) -> bool:
        """Whether clips and recordings are signed (C2PA)."""
        return self.c2pa or self.c2pa_certificate is not None or self.c2pa_key is not None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings, the strongest first (called by pydantic-settings). Raises SettingsError."""
        # VIVAVOCE_DATA is another name of VIVAVOCE_DATA_DIR, which overrides it.
        renamed = {"data_dir": os.environ["VIVAVOCE_DATA"]} if os.environ.get("VIVAVOCE_DATA") else {}
        above = {**renamed, **env_settings(), **init_settings()}
        file = read_file(_file_for(above), settings_cls.model_fields)
        around = surroundings(
            os.environ,
            turn=has_turn({**file, **above}),
            is_container=is_in_container(),
        )
        return (
            init_settings,
            env_settings,
            *(InitSettingsSource(settings_cls, init_kwargs=values) for values in (renamed, file, around)),
        )


def is_open_to_all(settings: Settings) -> bool:
    """Whether people on other machines can reach the portal without logging in."""
    return not is_on_loopback(settings) and not settings.needs_login


def is_on_loopback(settings: Settings) -> bool:
    """Whether only this machine can reach the portal directly. A proxy on it may still pass requests on."""
    address = parse_address(settings.host)
    return settings.host == "localhost" or (address is not None and address.is_loopback)


def _file_for(above: Mapping[str, object]) -> Path:
    """Return the path of the settings file. above: values of the sources that override it. Raises SettingsError."""
    if above.get("config"):
        path = absolute(Path(str(above["config"])))
        if not path.is_file():
            raise SettingsError(f"There is no settings file {path}.", "Correct --config (or VIVAVOCE_CONFIG).")
        return path
    return absolute(Path(str(above.get("data_dir") or Settings.model_fields["data_dir"].default))) / FILE_NAME


def option_name(name: str) -> str:
    """Return the command-line option of a setting, without leading dashes: max_sessions -> max-sessions."""
    extra = Settings.model_fields[name].json_schema_extra
    renamed = extra.get("option") if isinstance(extra, dict) else None
    return str(renamed or name).replace("_", "-")
