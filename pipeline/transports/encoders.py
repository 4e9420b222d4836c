"""Encoders for single pictures and for 40 ms of audio: uint8 RGB or float32 samples in, bytes out.

aiortc's own encoders are not used. With its defaults they cost 3-4 times the CPU (H264 in preset `medium`) or 4 dB of
quality (VP8 with its denoiser on). These take 2-2.5 ms per 512x512 picture. They keep no time: each call returns
exactly one encoded picture, in order, and the caller stamps it with its pts.

They are not thread-safe. Calls may come from different threads, but one at a time.
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
_NEVER = 100_000  # pictures between key frames: they come on request only
_VP8_STEP = 0.25  # of the bit rate
_FINEST_H264, _FINEST_VP8 = 20, 10
"""The finest quantizers of live pictures. A portrait of 512x512 comes out at 45.4 and 46.0 dB, its idle loop at 44.7
and 46.1. Quality beyond the loop's is not visible beside it, and costs twice the packets."""
_SILENT_RUN = 25  # pictures of silence after which both coder and decoder have settled
_BT601 = 5  # AVCOL_SPC_BT470BG: what OpenCV's I420 conversion computes
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


class VideoEncoder(Protocol):
    """Encodes one stream of pictures."""

    codec: str
    "name as in SDP: H264 or VP8"
    limit_bps: int | None
    "bit rate the viewer's connection can take, if below the nominal one; may be set between pictures"

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        """Encode one picture, uint8 RGB (height, width, 3). An odd last row or column is cut off.

        A key frame is made of the first picture, of one that differs in size from the last, and on request by `key`.
        """
        ...

    def close(self) -> None:
        """Release memory and threads. A picture encoded afterwards counts as the first."""
        ...


def default_bitrate_bps(width: int, height: int) -> int:
    """Return the target bit rate of live pictures of that size at 25 fps."""
    return int(np.clip(_BITS_PER_PIXEL * width * height * FPS, MIN_BITRATE_BPS, MAX_BITRATE_BPS))


def i420(rgb: ImageArray, planes: ImageArray | None = None) -> av.VideoFrame:
    """Convert uint8 RGB (h, w, 3) to BT.601 limited-range I420. An odd last row or column is cut off.

    planes: memory for the result, uint8 (h * 3 // 2, w) with even h and w; None: new memory
    """
    height, width = rgb.shape[0] & ~1, rgb.shape[1] & ~1
    # OpenCV takes 0.3 ms at 512x512, or 0.2 ms with memory that was used before; libswscale through PyAV takes 1.8 ms.
    planes = np.asarray(cv2.cvtColor(rgb[:height, :width], cv2.COLOR_RGB2YUV_I420, dst=planes), np.uint8)
    if height % 4 == 0:  # only such heights can be wrapped without copying, which takes 0.13 ms at 512x512
        return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def tag_bt601(context: VideoCodecContext) -> None:
    """Make an encoder declare the colour space of i420(). Call it before the first frame."""
    context.colorspace, context.color_range = _BT601, _LIMITED_RANGE


def encode_jpeg(rgb: ImageArray, quality: int = 75) -> bytes:
    """Encode uint8 RGB (h, w, 3) as JPEG 4:2:0. At 512x512 simplejpeg takes 0.73 ms, and OpenCV would take 0.80 ms."""
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(rgb), quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=True
    )
    return jpeg


def pcm16(audio: FloatArray) -> bytes:
    """Convert float32 in [-1, 1] (clipped) to little-endian 16-bit PCM."""
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
    """The base of both: a context that is opened for the first picture, and again when the size changes."""

    codec: str

    def __init__(self, bitrate_bps: int | None) -> None:
        self.limit_bps: int | None = None
        self._wanted_bps = bitrate_bps
        self._nominal_bps = 0
        self._context: VideoCodecContext | None = None
        self._pictures = 0
        self._planes: ImageArray = np.empty((0, 0), np.uint8)

    def encode(self, rgb: ImageArray, key: bool = False) -> bytes:
        height, width = rgb.shape[0] & ~1, rgb.shape[1] & ~1
        if self._planes.shape != (height * 3 // 2, width):
            self._planes = np.empty((height * 3 // 2, width), np.uint8)
        frame = i420(rgb, self._planes)  # the memory can be used again: both encoders copy what they are given
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
        # The codec's memory (megabytes) is freed with its last reference, which is this one. The encoder itself may be
        # part of a cycle that Python's collector finds minutes later.
        self._context = None
        self._planes = np.empty((0, 0), np.uint8)

    def _target_bps(self) -> int:
        limit_bps = self._nominal_bps if self.limit_bps is None else max(self.limit_bps, MIN_BITRATE_BPS)
        return min(self._nominal_bps, limit_bps)

    @abstractmethod
    def _open(self, width: int, height: int, target_bps: int) -> VideoCodecContext: ...

    @abstractmethod
    def _tuned(self, context: VideoCodecContext, target_bps: int) -> VideoCodecContext:
        """Return the context, or a new one, set to that bit rate."""


class H264Encoder(_LibavEncoder):
    """libx264, Constrained Baseline, with parameter sets in each key frame, and without delay.

    bitrate_bps: None: one that fits the size.
    crf: None: encode at that bit rate (live). A number: constant quality, with the bit rate as a cap (for loops).
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
            # It is opened at the buffer's rate: only then does x264 follow later changes of bit_rate.
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
    """libvpx in real-time mode. The denoiser is off, because it costs time, and 4 dB on clean pictures.

    cpu_used: libvpx's speed: -12 for live pictures, as measured; smaller magnitudes for loops. crf: as for H264.
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
        # FFmpeg passes a rate to libvpx only on opening, and the key frame this takes is not worth it for a small
        # change.
        if abs(target_bps - self._opened_bps) <= _VP8_STEP * self._opened_bps:
            return context
        return self._open(context.width, context.height, target_bps)


def video_encoder(codec: str, bitrate_bps: int | None = None) -> VideoEncoder:
    """Return a live encoder for a negotiated codec, `H264` or `VP8`."""
    return H264Encoder(bitrate_bps) if codec == "H264" else Vp8Encoder(bitrate_bps)


class OpusEncoder:
    """libopus, mono, 48 kHz, one packet of 40 ms per picture. That is half as many packets as with the usual 20 ms.

    Its low-delay mode (CELT) at complexity 5 takes 0.16 ms per picture, and mode `voip` at its default 0.87 ms. At 40
    kbit/s low delay is also nearer to the original (log-spectral distance 0.65 to 0.94 on speech), and 4 ms faster.

    PyAV adds a filter with one thread per core; these end with the last reference to this encoder.
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
        """Encode float32 (SAMPLES_PER_PICTURE,) in [-1, 1] as one Opus packet.

        A long silence is encoded once. After some packets of silence the coder's output no longer changes, and coder
        and decoder both keep their state until the next sound.
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
