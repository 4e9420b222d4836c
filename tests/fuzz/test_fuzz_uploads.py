"""Files whose beginnings, middles and ends are not what they say: taken, or refused in plain words; nothing is left."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from portal.commands.portal_process import PortalProcess
from tests.fuzz.trying import address, much, well
from tests.portal.api_requests import leftovers, recording

pytestmark = pytest.mark.thorough

KINDS = ("png", "jpg", "mp4", "wav", "zip")
CUTS = st.tuples(st.floats(0, 1), st.integers(0, 64), st.binary(max_size=64))
"where bytes are replaced, as a share of the file's first 2000 or of all of it, how many, and by what"


@cache
def whole(kind: str) -> bytes:
    file = io.BytesIO()
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    match kind:
        case "png" | "jpg":
            Image.fromarray(picture).save(file, {"png": "PNG", "jpg": "JPEG"}[kind])
        case "wav":
            return recording()
        case "mp4":
            with av.open(file, "w", format="mp4") as clip:
                stream = clip.add_stream("libx264", rate=25)
                stream.width = stream.height = 64
                stream.pix_fmt = "yuv420p"
                for _ in range(10):
                    clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                clip.mux(stream.encode())
        case "zip":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("avatar/coords.pkl", b"\x80\x04]\x94.")
                archive.writestr("avatar/full_imgs/00000000.png", whole("png"))
    return file.getvalue()


@st.composite
def damaged(draw: st.DrawFn, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(kinds))
    data = whole(kind)
    for place, count, by in draw(st.lists(CUTS, min_size=1, max_size=3)):
        at = int(place * (min(2000, len(data)) if draw(st.booleans()) else len(data)))
        data = data[:at] + by + data[at + count :]
    return f"me.{draw(st.sampled_from((kind, *KINDS)))}", data


def settle(http: httpx.Client, answer: httpx.Response, fuzzed: PortalProcess, before: list[Path]) -> None:
    """What was taken makes room again, and of what was refused nothing is left."""
    well(answer)
    if answer.status_code == 202:
        assert http.delete(f"/api/jobs/{answer.json()['id']}", headers=address()).status_code == 200
    else:
        assert leftovers(fuzzed.log.parent) == before


def test_damaged_uploads_are_taken_or_refused(http: httpx.Client, fuzzed: PortalProcess) -> None:
    """As an avatar. Who looks at one is a process of its own, so few are tried."""

    @much(10)
    @given(file=damaged(KINDS))
    def send(file: tuple[str, bytes]) -> None:
        before = leftovers(fuzzed.log.parent)
        answer = http.post("/api/avatars", files={"file": file}, data={"consent": "true"}, headers=address())
        settle(http, answer, fuzzed, before)

    send()


def test_damaged_recordings_are_taken_or_refused(http: httpx.Client, fuzzed: PortalProcess) -> None:
    """For a clip, and as a voice sample of an avatar."""

    @much(8)
    @given(file=damaged(("wav", "mp4")), is_clip=st.booleans())
    def send(file: tuple[str, bytes], is_clip: bool) -> None:
        before = leftovers(fuzzed.log.parent)
        if is_clip:
            answer = http.post(
                "/api/clips", files={"audio": file}, data={"avatar": "alpha", "text": ""}, headers=address()
            )
        else:
            consent = {"consent": "true", "transcript": "Hello."}
            answer = http.post("/api/avatars/alpha/voice", files={"file": file}, data=consent, headers=address())
        settle(http, answer, fuzzed, before)

    send()
