"""Small recordings for tests: good, damaged and hostile ones."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE_HZ = 48_000


def spoken(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return (n,) noise that comes and goes like syllables, at about -20 dBFS."""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).normal(size=len(times_s))
    smooth = np.convolve(noise, np.ones(24) / 24, "same")
    syllables = np.maximum(0, np.sin(2 * np.pi * 2 * times_s + seed))
    voice = smooth * syllables
    return (0.1 * voice / np.sqrt(np.mean(voice**2))).astype(np.float32)


def write_recording(
    path: Path, channels: npt.NDArray[np.float32], form: str, codec: str, *, layout: str = "", **options: str
) -> Path:
    """Encode (channels, n) at RATE_HZ. options: of the container."""
    layout = layout or {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(str(path), "w", format=form, options=options) as file:
        stream = file.add_stream(codec, rate=RATE_HZ, layout=layout)
        assert isinstance(stream, av.AudioStream)
        for start in range(0, channels.shape[1], 4800):
            piece = np.ascontiguousarray(channels[:, start : start + 4800])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = RATE_HZ, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def playlists(target: str) -> dict[str, str]:
    """Return, by format, texts that FFmpeg reads as references to another file."""
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "live hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "ffmetadata": f";FFMETADATA1\ntitle={target}\n",
        "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
        "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
        "rtsp": f"[Reference]\nRef1={target}\n",
        "vobsub": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
    }
