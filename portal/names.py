"""Makes names that people give safe to show and to store. They are never used as paths."""

from __future__ import annotations

import re

from avatars.unicode_names import blank_invisible, normalise_name

__all__ = ["clean_file_name", "clean_name", "clip_file_name"]

_NOT_IN_FILE_NAMES = re.compile(r'[<>:"/\\|?*]')
"The characters that Windows refuses; other systems refuse fewer."
_RECORDING = re.compile(r"\.(wav|mp3|m4a|aac|flac|ogg|opus|webm|mp4|mov|mkv|weba)$", re.IGNORECASE)


MAX_FILE_NAME_BYTES = 240
"Longest file name without its ending, in bytes of UTF-8. File systems allow 255 with the ending."


def clean_name(raw: str, *, limit: int = 60) -> str:
    """Return a name as one line without hidden characters or double spaces, of at most `limit` characters.

    The result may be empty.
    """
    whole = re.sub(r"\s+", " ", blank_invisible(normalise_name(raw))).strip(" .")
    return whole if len(whole) <= limit else blank_invisible(whole[: limit - 1]).strip() + "…"


def clean_file_name(raw: str, *, limit: int = 60) -> str:
    """Clean the name of an uploaded file like clean_name(), without the folders that some clients send along."""
    return clean_name(raw.rstrip("/\\").replace("\\", "/").rpartition("/")[2], limit=limit)


def clip_file_name(speaker: str, title: str, ending: str = "mp4") -> str:
    """Return the file name for the download of a clip, such as "Sunny - Hi everyone.mp4".

    ending: without its dot. The name fits into the 255 bytes that file systems allow, whatever the script.
    """
    parts = [clean_name(_NOT_IN_FILE_NAMES.sub(" ", part), limit=48) for part in (speaker, _RECORDING.sub("", title))]
    name = " - ".join(part for part in parts if part) or "Clip"
    return name.encode()[:MAX_FILE_NAME_BYTES].decode(errors="ignore").strip(" .") + f".{ending}"
