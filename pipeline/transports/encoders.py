"""Encoders of single pictures and of 40 ms of audio: uint8 RGB or float32 samples in, bytes out.

They are our own, not aiortc's, because its defaults cost 3-4 times the CPU (H264 in preset `medium`) or 4 dB of quality
(VP8 with its denoiser on); these take 2-2.5 ms a 512x512 picture. They keep no clock: each call gives exactly one
encoded picture, in order, and whoever calls stamps it with its pts.

None of them is thread-safe; calls may come from different threads one after another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Protocol

import av
import cv2
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from pipeline.types import FPS, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray, ImageArray

__all__ = [
    "MAX_BITRATE_BPS",
    "MIN_BITRATE_BPS",
    "H264Encoder",
    "OpusEncoder",
    "VideoEncoder",
    "Vp8Encoder",
    "default_bitrate_bps",
    "encode_jpeg",
    "i420",
    "pcm16",
    "tag_bt601",
    "video_encoder",
]

MIN_BITRATE_BPS = 300_000
MAX_BITRATE_BPS = 4_000_000
_BITS_PER_PIXEL = 0.153  # 1 Mbit/s at 512x512, 25 fps: 46-47 dB on a talking head
_NEVER = 100_000  # pictures between key frames: they come on demand only
_VP8_STEP = 0.25  # of the bit rate
_FINEST_H264, _FINEST_VP8 = 20, 10
"""The finest quantizers of live pictures. A portrait of 512x512 comes out at 45.4 and 46.0 dB, its idle loop at 44.7
and 46.1. What is finer than the loop beside it is not seen, and costs twice the packets."""
_SILENT_RUN = 25  # pictures of encoded silence after which coder and decoder have both come to rest
_BT601 = 5  # AVCOL_SPC_BT470BG: what OpenCV's I420 conversion computes
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


class VideoEncoder(Protocol):
    codec: str
    "as in SDP: H264 or VP8"
    limit_bps: int | None
    "what the way to the viewer can take, if less than the nominal bit rate; may be set between pictures"

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        """One picture, uint8 RGB (height, width, 3), to one encoded picture. Of odd sizes the last row or column is
        cut. The first picture, one of another size than the last and one asked for by `key` are key frames.
        """
        ...

    def close(self) -> None:
        """Give its memory and threads back. A picture encoded after that is a first one."""
        ...


def default_bitrate_bps(width: int, height: int) -> int:
    """Target of a live picture of that size at 25 fps."""
    return int(np.clip(_BITS_PER_PIXEL * width * height * FPS, MIN_BITRATE_BPS, MAX_BITRATE_BPS))


def i420(rgb: ImageArray) -> av.VideoFrame:
    """uint8 RGB (h, w, 3) -> BT.601 limited-range I420 of even size (the last odd row or column is cut)."""
    height, width = rgb.shape[0] & ~1, rgb.shape[1] & ~1
    # OpenCV does this in 0.3 ms at 512x512; libswscale through PyAV takes 1.8 ms.
    planes = np.asarray(cv2.cvtColor(rgb[:height, :width], cv2.COLOR_RGB2YUV_I420), np.uint8)
    if height % 4 == 0:  # PyAV wraps only such heights rightly; for the others it copies (0.13 ms at 512x512)
        return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def tag_bt601(context: VideoCodecContext) -> None:
    """Have an encoder say what i420() makes. Call it before the first frame."""
    context.colorspace, context.color_range = _BT601, _LIMITED_RANGE


def encode_jpeg(rgb: ImageArray, quality: int = 75) -> bytes:
    """uint8 RGB (h, w, 3) of any size -> JPEG 4:2:0. Takes 0.73 ms at 512x512 with simplejpeg, 0.80 ms with OpenCV."""
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(rgb), quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=True
    )
    return jpeg


def pcm16(audio: FloatArray) -> bytes:
    """float32 in [-1, 1] (clipped) -> little-endian 16-bit PCM."""
    return (np.clip(audio, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()


def _video_context(name: str, width: int, height: int) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
    tag_bt601(context)
    context.thread_count = 1
    return context


class _LibavEncoder(ABC):
    """What the two have in common: a context made at the first picture and made anew when the size changes."""

    codec: str

    def __init__(self, bitrate_bps: int | None) -> None:
        self.limit_bps: int | None = None
        self._wanted_bps = bitrate_bps
        self._nominal_bps = 0
        self._context: VideoCodecContext | None = None
        self._pictures = 0

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        frame = i420(rgb)
        context = self._context
        if context is None or (context.width, context.height) != (frame.width, frame.height):
            self._nominal_bps = self._wanted_bps or default_bitrate_bps(frame.width, frame.height)
            context = self._open(frame.width, frame.height, self._target_bps())
        context = self._context = self._tuned(context, self._target_bps())
        frame.pts = self._pictures
        frame.time_base = context.time_base
        frame.pict_type = PictureType.I if key else PictureType.NONE
        self._pictures += 1
        return b"".join(bytes(packet) for packet in context.encode(frame))

    def close(self) -> None:
        # The codec's memory (megabytes) goes with its last reference, which is this one. What refers to this encoder
        # may be in a cycle that Python's collector finds minutes later.
        self._context = None

    def _target_bps(self) -> int:
        limit_bps = self._nominal_bps if self.limit_bps is None else max(self.limit_bps, MIN_BITRATE_BPS)
        return min(self._nominal_bps, limit_bps)

    @abstractmethod
    def _open(self, width: int, height: int, target_bps: int) -> VideoCodecContext: ...

    @abstractmethod
    def _tuned(self, context: VideoCodecContext, target_bps: int) -> VideoCodecContext:
        """The context, or a fresh one, set to that bit rate."""


class H264Encoder(_LibavEncoder):
    """libx264, Constrained Baseline, parameter sets in each key frame, no delay.

    bitrate_bps: None for one that fits the size; crf: None codes at that bit rate (live), a number at constant quality
    with the bit rate as its cap (loops made once).
    """

    codec = "H264"

    def __init__(self, bitrate_bps: int | None = None, *, preset: str = "superfast", crf: float | None = None) -> None:
        super().__init__(bitrate_bps)
        self._preset = preset
        self._crf = crf

    def _open(self, width: int, height: int, target_bps: int) -> VideoCodecContext:
        context = _video_context("libx264", width, height)
        context.profile = "Baseline"
        rate = str(self._nominal_bps)
        options = {
            "preset": self._preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "maxrate": rate,
            "bufsize": rate,
            # Adaptive quantization costs a fifth of the time and, on clean pictures, 0.7 dB.
            "x264-params": f"sliced-threads=0:threads=1:keyint={_NEVER}:scenecut=0:aq-mode=0",
        }
        if self._crf is None:
            # Opened at the buffer's rate: only then does x264 follow bit_rate in a running context.
            context.bit_rate = self._nominal_bps
            context.qmin = _FINEST_H264
            options["bufsize"] = str(self._nominal_bps // 2)
        else:
            options["crf"] = str(self._crf)
        context.options = options
        context.open()
        return context

    def _tuned(self, context: VideoCodecContext, target_bps: int) -> VideoCodecContext:
        if self._crf is None:
            context.bit_rate = target_bps
        return context


class Vp8Encoder(_LibavEncoder):
    """libvpx in real-time mode with the denoiser off: it costs time and 4 dB on clean pictures.

    cpu_used: libvpx's speed, -12 as measured for live pictures, lower magnitudes for loops made once; crf: as H264's.
    """

    codec = "VP8"

    def __init__(self, bitrate_bps: int | None = None, *, cpu_used: int = -12, crf: int | None = None) -> None:
        super().__init__(bitrate_bps)
        self._cpu_used = cpu_used
        self._crf = crf
        self._opened_bps = 0

    def _open(self, width: int, height: int, target_bps: int) -> VideoCodecContext:
        context = _video_context("libvpx", width, height)
        context.bit_rate = self._opened_bps = target_bps
        context.gop_size = _NEVER
        context.qmin, context.qmax = 2 if self._crf is not None else _FINEST_VP8, 56
        rate = str(target_bps)
        options = {
            "deadline": "realtime",
            "cpu-used": str(self._cpu_used),
            "lag-in-frames": "0",
            "noise-sensitivity": "0",
            "static-thresh": "1",
            "bufsize": rate,
            "maxrate": rate,
        }
        if self._crf is None:
            options |= {"minrate": rate, "undershoot-pct": "100", "overshoot-pct": "15"}
        else:
            options["crf"] = str(self._crf)
        context.options = options
        return context

    def _tuned(self, context: VideoCodecContext, target_bps: int) -> VideoCodecContext:
        # FFmpeg hands libvpx a rate only when it opens it; for small steps the key frame costs more than it gives.
        if abs(target_bps - self._opened_bps) <= _VP8_STEP * self._opened_bps:
            return context
        return self._open(context.width, context.height, target_bps)


def video_encoder(codec: str, bitrate_bps: int | None = None) -> VideoEncoder:
    """The live encoder of a negotiated codec, `H264` or `VP8`."""
    return H264Encoder(bitrate_bps) if codec == "H264" else Vp8Encoder(bitrate_bps)


class OpusEncoder:
    """libopus, mono, 48 kHz, one packet of 40 ms a picture (half the packets of the usual 20 ms).

    Its low-delay mode (CELT) at complexity 5 takes 0.16 ms a picture, mode `voip` at its default 0.87 ms; at 40 kbit/s
    the former is also nearer to the original (log-spectral distance 0.65 to 0.94 on speech), and 4 ms earlier.

    PyAV puts a filter before it, with a thread a core; they end with the last reference to this encoder.
    """

    def __init__(self, bitrate_bps: int = 40_000) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, av.AudioCodecContext)
        context.bit_rate = bitrate_bps
        context.format = av.AudioFormat("s16")
        context.layout = av.AudioLayout("mono")
        context.sample_rate = PLAYOUT_RATE_HZ
        context.time_base = Fraction(1, PLAYOUT_RATE_HZ)
        context.options = {"application": "lowdelay", "frame_duration": "40", "compression_level": "5"}
        self._context = context
        self._samples = 0
        self._silent_run = 0
        self._silence: bytes = b""

    def encode(self, audio: FloatArray) -> bytes:
        """float32 (SAMPLES_PER_PICTURE,) in [-1, 1] -> one Opus packet.

        Longer silence is coded once: what the coder gives for silence in silence does not change any more, and its
        state, like the decoder's, stays where it is until the next sound.
        """
        if audio.any():
            self._silent_run = 0
            return self._encode(audio)
        if self._silent_run < _SILENT_RUN:
            self._silent_run += 1
            self._silence = self._encode(audio)
        return self._silence

    def _encode(self, audio: FloatArray) -> bytes:
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES_PER_PICTURE)
        frame.planes[0].update(pcm16(audio))
        frame.sample_rate = PLAYOUT_RATE_HZ
        frame.pts = self._samples
        frame.time_base = self._context.time_base
        self._samples += SAMPLES_PER_PICTURE
        return b"".join(bytes(packet) for packet in self._context.encode(frame))
