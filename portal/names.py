"""Names that people give, made safe to show and to keep. Never used as a path."""

from __future__ import annotations

import re

from avatars.written import in_one_way, in_sight

__all__ = ["clean_file_name", "clean_name", "clip_file_name"]

_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*]')
"as Windows has it, which refuses most"
_RECORDING = re.compile(r"\.(wav|mp3|m4a|aac|flac|ogg|opus|webm|mp4|mov|mkv|weba)$", re.IGNORECASE)


MAX_FILE_NAME_BYTES = 240


def clean_name(raw: str, *, limit: int = 60) -> str:
    """One line without hidden characters or doubled spaces, cut at `limit` characters; may be empty."""
    whole = re.sub(r"\s+", " ", in_sight(in_one_way(raw))).strip(" .")
    return whole if len(whole) <= limit else in_sight(whole[: limit - 1]).strip() + "…"


def clean_file_name(raw: str, *, limit: int = 60) -> str:
    """The same of the name of a file, without the folders that some clients send along."""
    return clean_name(raw.rstrip("/\\").replace("\\", "/").rpartition("/")[2], limit=limit)


def clip_file_name(speaker: str, title: str, ending: str = "mp4") -> str:
    """What a clip is called on the disk of the person who downloads it, such as "Sunny - Hi everyone.mp4".

    ending: of the name, without its dot. Fits into the 255 bytes of a file's name, whatever the script.
    """
    parts = [clean_name(_NOT_IN_FILE_NAMES.sub(" ", part), limit=48) for part in (speaker, _RECORDING.sub("", title))]
    name = " - ".join(part for part in parts if part) or "Clip"
    return name.encode()[:MAX_FILE_NAME_BYTES].decode(errors="ignore").strip(" .") + f".{ending}"
