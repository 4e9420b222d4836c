"""Sources of settings besides the command line and the environment: the settings file, and the surroundings."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from models.errors import VivavoceError

__all__ = ["FILE_NAME", "SettingsError", "did_you_mean", "has_turn", "is_in_container", "read_file", "surroundings"]

FILE_NAME = "vivavoce.toml"
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
"Files that Docker and Podman create in each container."
CONTAINER_NETWORKS = ("127.0.0.0/8", "::1", "172.16.0.0/12", "10.88.0.0/16")
"Loopback, and the networks that Docker and Podman create. A proxy there is in a neighbouring container or on the host."


class SettingsError(VivavoceError, code="bad_settings"):
    """A setting is unknown or has a value that cannot be used."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a hint for a person who wrote `name`, which is no setting. names: all settings."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"Did you mean '{near[0]}'?" if near else "`python launch.py --help` lists the settings."


def read_file(path: Path, names: Iterable[str]) -> dict[str, object]:
    """Return the values of a settings file, {} if there is no such file. names: of all settings.

    Raises SettingsError: the file cannot be read, is no TOML, or has an unknown name.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"The settings file {path} is no TOML: {error}.", 'Write lines like: tts = "hibari"'
        ) from error
    known = set(names)
    for name in values:
        if name not in known:
            raise SettingsError(f"{path} has an unknown setting '{name}'.", did_you_mean(name, known))
    return values


def is_in_container() -> bool:
    """Whether this process runs in a container of Docker or Podman."""
    return any(Path(mark).exists() for mark in CONTAINER_MARKS)


def has_turn(values: Mapping[str, object]) -> bool:
    """Whether these values name a TURN server, or a company that lends one."""
    return bool(values.get("turn_urls")) or values.get("turn_service", "none") != "none"


def surroundings(environ: Mapping[str, str], turn: bool, is_container: bool = False) -> dict[str, object]:
    """Return the settings that the environment of the process implies. They override the defaults only.

    turn: whether a TURN server is set. A Hugging Face Space lets no UDP in, so without TURN every viewer would have to
    wait until WebRTC fails; the WebSocket is used at once instead.
    """
    values: dict[str, object] = {"trusted_proxies": CONTAINER_NETWORKS} if is_container else {}
    if "SPACE_ID" in environ:
        values |= {
            "host": "0.0.0.0",  # noqa: S104 - a Space lets only its proxy in
            "port": environ.get("PORT", "7860"),
            "open_browser": False,
            # The Space's own page shows the portal in a frame; only its proxy can reach the port.
            "allowed_origins": "https://huggingface.co",
            "trusted_hosts": environ.get("SPACE_HOST", "*.hf.space"),
            "trusted_proxies": "*",
        }
        if not turn:
            values["transport"] = "websocket"
    for name, variable in (("llm_api_key", "OPENAI_API_KEY"), ("llm_base_url", "OPENAI_BASE_URL")):
        if environ.get(variable):
            values[name] = environ[variable]
    return values
