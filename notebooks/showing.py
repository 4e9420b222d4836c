"""What the notebooks show things with: sound and clips that play inside a page, a turn's times, a live avatar."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import soundfile
from IPython.display import Audio, IFrame, Video

from avatars.bundle import encode_jpeg
from avatars.colour import bt709_frame, tag_bt709
from pipeline.clip_writer import ClipCoding, ClipWriter
from pipeline.coded_frames import Coding
from pipeline.types import MediaFrame

SMALL = ClipCoding(Coding(bt709_frame, tag_bt709, {"crf": "30", "preset": "slow"}), movflags="+faststart")
"Small enough to be kept in a notebook."
MOST_ON_A_SIDE = 320
STAGES = {
    "transcript": "words of the viewer",
    "llm_first_token": "language model",
    "first_sentence": "first sentence",
    "first_audio": "voice",
    "first_features": "features",
    "first_patch": "lips",
    "first_frame": "compositing",
    "first_release": "playout",
}
"Mark of a turn -> what was at work until then."


def sound(samples, rate_hz: int) -> Audio:
    """A player for (n,) float32 samples, as MP3."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate_hz, format="MP3")
    player = Audio(data=file.getvalue(), rate=None)
    player.mimetype = "audio/mpeg"
    return player


async def clip(frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> Video:
    """A player for pictures (RGB) with their 40 ms of sound each (1920 samples), as a small MP4."""
    pictures = [(_small(picture), samples) for picture, samples in frames]
    height, width, _ = pictures[0][0].shape
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        writer = ClipWriter(file, width, height, coding=SMALL)
        for number, (picture, samples) in enumerate(pictures):
            await writer.send(MediaFrame(picture, samples, number))
        await writer.finish()
        poster = base64.b64encode(encode_jpeg(pictures[len(pictures) // 2][0])).decode()
        shown = f'controls playsinline poster="data:image/jpeg;base64,{poster}"'
        return Video(data=file.read_bytes(), embed=True, mimetype="video/mp4", html_attributes=shown)


def _small(picture: np.ndarray) -> np.ndarray:
    """At most MOST_ON_A_SIDE high, of even width and height, as video has to be."""
    height, width, _ = picture.shape
    scale = min(1.0, MOST_ON_A_SIDE / height)
    size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def waterfall(ax, marks_ms: Mapping[str, float], title: str = "") -> None:
    """The marks of a turn: a bar for each, from the one before it."""
    since_ms = 0.0
    names = [name for name in STAGES if name in marks_ms]
    for row, name in enumerate(names):
        ax.barh(row, marks_ms[name] - since_ms, left=since_ms, color=f"C{list(STAGES).index(name)}")
        ax.text(marks_ms[name], row, f" {marks_ms[name]:.0f} ms", va="center", fontsize=8)
        since_ms = marks_ms[name]
    ax.set(yticks=range(len(names)), yticklabels=[STAGES[name] for name in names], xlabel="ms", title=title)
    ax.set_xlim(0, 1.15 * max(1.0, since_ms))
    ax.invert_yaxis()


def live(address: str, width: int = 420, height: int = 420) -> IFrame:
    """A page of a running portal, inside this one."""
    return IFrame(address, width, height, extras=['allow="autoplay; microphone"'])


def jupyter_origins() -> list[str]:
    """Where the pages of Jupyter come from that may be showing this notebook; empty if there is no server of Jupyter."""
    try:
        from jupyter_server.serverapp import list_running_servers
    except ImportError:
        return []
    hosts = ("localhost", "127.0.0.1")
    return sorted({f"http://{host}:{server['port']}" for server in list_running_servers() for host in hosts})
