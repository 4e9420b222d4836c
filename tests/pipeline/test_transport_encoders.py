"""Encoders: one picture in, one decodable picture out, key frames and bit rate on demand."""

from __future__ import annotations

from collections.abc import Callable

import av
import cv2
import numpy as np
import pytest

from avatars.bundle import decode_jpeg
from pipeline.transports import encoders
from pipeline.transports.encoders import (
    MIN_BITRATE_BPS,
    H264Encoder,
    OpusEncoder,
    VideoEncoder,
    Vp8Encoder,
    default_bitrate_bps,
    encode_jpeg,
    i420,
    pcm16,
)
from pipeline.types import SAMPLES_PER_PICTURE, FloatArray, ImageArray

ENCODERS = {"h264": H264Encoder, "libvpx": Vp8Encoder}


def moving(count: int, height: int = 128, width: int = 96) -> list[ImageArray]:
    """Pictures of a smooth pattern that moves by two pixels a picture."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([127 + 100 * np.sin((x + 2 * i) / 9), 127 + 100 * np.cos(y / 7), (x + y) % 256], -1).astype(np.uint8)
        for i in range(count)
    ]


def noise(count: int) -> list[ImageArray]:
    """Pictures that no codec can make small."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (128, 128, 3), np.uint8) for _ in range(count)]


def decode(packets: list[bytes], decoder: str) -> list[ImageArray]:
    context = av.CodecContext.create(decoder, "r")
    assert isinstance(context, av.VideoCodecContext)
    frames = [frame for data in packets for frame in context.decode(av.Packet(data))] + context.decode(None)
    return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def is_key(data: bytes, decoder: str) -> bool:
    """H264: a parameter set leads; VP8: the first bit is clear."""
    return data[4] & 0x1F == 7 if decoder == "h264" else not data[0] & 1


@pytest.mark.parametrize("decoder", ENCODERS)
class TestVideoEncoders:
    def test_pictures_do_not_mix_in_memory_that_is_used_again(
        self, decoder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same pictures, converted into new memory each, are encoded to the same bytes; also after another size."""
        pictures = [*noise(8), *moving(4, 130, 98), *noise(3)]
        encoder: VideoEncoder = ENCODERS[decoder](1_000_000)
        packets = [encoder.encode(picture) for picture in pictures]
        monkeypatch.setattr(encoders, "i420", lambda rgb, _planes: i420(rgb))
        careful: VideoEncoder = ENCODERS[decoder](1_000_000)
        assert packets == [careful.encode(picture) for picture in pictures]

    def test_each_picture_gives_one_that_decodes_to_it(self, decoder: str) -> None:
        """Every call gives exactly one encoded picture, near to what went in, without delay."""
        encoder: VideoEncoder = ENCODERS[decoder](1_000_000)
        pictures = moving(10)
        decoded = decode([encoder.encode(picture) for picture in pictures], decoder)
        assert len(decoded) == 10
        for picture, shown in zip(pictures, decoded, strict=True):
            assert np.abs(picture.astype(int) - shown).mean() < 6

    def test_key_frames_come_first_and_on_demand_only(self, decoder: str) -> None:
        """The first picture is a key frame, others are when asked for."""
        encoder: VideoEncoder = ENCODERS[decoder]()
        packets = [encoder.encode(picture, key=index == 7) for index, picture in enumerate(moving(12))]
        assert [index for index, data in enumerate(packets) if is_key(data, decoder)] == [0, 7]

    def test_a_key_frame_can_be_decoded_alone(self, decoder: str) -> None:
        """A decoder may enter at a key frame (parameter sets are in band)."""
        encoder: VideoEncoder = ENCODERS[decoder]()
        packets = [encoder.encode(picture, key=index == 5) for index, picture in enumerate(moving(10))]
        assert len(decode(packets[5:], decoder)) == 5

    @pytest.mark.parametrize(("height", "width"), [(127, 95), (98, 102), (129, 64)])
    def test_odd_sizes_lose_their_last_row_or_column(self, decoder: str, height: int, width: int) -> None:
        """Pictures of any size come out, cut to even sides."""
        encoder: VideoEncoder = ENCODERS[decoder]()
        picture = moving(1, height, width)[0]
        shown = decode([encoder.encode(picture)], decoder)[0]
        assert shown.shape == (height & ~1, width & ~1, 3)
        assert np.abs(picture[: height & ~1, : width & ~1].astype(int) - shown).mean() < 8

    def test_another_size_starts_with_a_key_frame(self, decoder: str) -> None:
        """A changed size (another avatar) is taken in stride."""
        encoder: VideoEncoder = ENCODERS[decoder]()
        packets = [encoder.encode(picture) for picture in moving(3) + moving(3, 64, 64)]
        assert [is_key(data, decoder) for data in packets] == [True, False, False] * 2

    def test_a_closed_encoder_begins_anew(self, decoder: str) -> None:
        """close() gives memory back, twice if need be; what is encoded after it decodes by itself."""
        encoder: VideoEncoder = ENCODERS[decoder]()
        first, second = moving(2)
        encoder.encode(first)
        encoder.close()
        encoder.close()
        assert len(decode([encoder.encode(second)], decoder)) == 1

    def test_the_bit_rate_follows_a_limit_and_comes_back(self, decoder: str) -> None:
        """A limit set between pictures is obeyed within a second or so; without it the nominal rate returns."""
        encoder: VideoEncoder = ENCODERS[decoder](1_500_000)
        pictures = noise(75)
        sizes: dict[int | None, float] = {}
        for limit in (None, 400_000):
            encoder.limit_bps = limit
            packets = [encoder.encode(picture) for picture in pictures]
            sizes[limit] = sum(map(len, packets[40:])) / 35 * 8 * 25
        encoder.limit_bps = None
        back = sum(len(encoder.encode(picture)) for picture in pictures[:40] * 2) / 80 * 8 * 25
        assert sizes[400_000] < 0.5 * sizes[None]
        assert back > 1.5 * sizes[400_000]


@pytest.mark.parametrize("decoder", ENCODERS)
def test_an_easy_picture_is_not_coded_finer_than_can_be_seen(decoder: str) -> None:
    """A still picture with a small part that changes leaves most of the bit rate, and stays as good as an idle loop."""
    encoder: VideoEncoder = ENCODERS[decoder](1_000_000)
    still, *parts = moving(30, 256, 256)
    pictures = []
    for part in parts:
        picture = still.copy()
        picture[96:160, 96:160] = part[96:160, 96:160]
        pictures.append(picture)
    packets = [encoder.encode(picture) for picture in pictures]
    assert sum(map(len, packets[10:])) / 19 * 8 * 25 < 500_000
    for picture, shown in zip(pictures[10:], decode(packets, decoder)[10:], strict=True):
        luma, seen = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(float) for one in (picture, shown))
        assert 10 * np.log10(255**2 / np.mean((luma - seen) ** 2)) > 40


def test_h264_changes_its_rate_without_a_key_frame() -> None:
    """x264 takes a lower and a higher rate in the running context."""
    encoder = H264Encoder(1_500_000)
    packets = []
    for index, picture in enumerate(moving(40)):
        encoder.limit_bps = (None, 500_000, 900_000, None)[index // 10]
        packets.append(encoder.encode(picture))
    assert [is_key(data, "h264") for data in packets] == [True] + [False] * 39


def test_vp8_ignores_small_changes_of_rate() -> None:
    """Steps that are not worth a key frame are not taken."""
    encoder = Vp8Encoder(1_000_000)
    packets = []
    for index, picture in enumerate(moving(30)):
        encoder.limit_bps = (None, 900_000, 500_000)[index // 10]
        packets.append(encoder.encode(picture))
    assert [index for index, data in enumerate(packets) if is_key(data, "libvpx")] == [0, 20]


def test_the_default_bit_rate_grows_with_the_picture_within_limits() -> None:
    """512x512 gets 1 Mbit/s; tiny and huge pictures are held within bounds."""
    assert default_bitrate_bps(512, 512) == pytest.approx(1_000_000, rel=0.01)
    assert default_bitrate_bps(64, 64) == MIN_BITRATE_BPS
    assert default_bitrate_bps(720, 1280) < default_bitrate_bps(1280, 1280)


@pytest.mark.parametrize(("height", "width"), [(128, 96), (33, 47)])
def test_jpeg_keeps_any_size(height: int, width: int) -> None:
    """JPEG pictures keep their size, odd ones too, and their look."""
    picture = moving(1, height, width)[0]
    shown = decode_jpeg(encode_jpeg(picture, 85))
    assert shown.shape == picture.shape
    assert np.abs(picture.astype(int) - shown).mean() < 12


def test_jpeg_takes_a_view() -> None:
    """A picture that is a window into a larger one needs no copy by the caller."""
    picture = moving(1)[0][10:90, 5:80]
    assert decode_jpeg(encode_jpeg(picture)).shape == (80, 75, 3)


class TestOpusEncoder:
    def decode(self, packets: list[bytes]) -> FloatArray:
        context = av.CodecContext.create("libopus", "r")
        assert isinstance(context, av.AudioCodecContext)
        context.format, context.layout, context.sample_rate = av.AudioFormat("s16"), av.AudioLayout("mono"), 48_000
        blocks = [frame.to_ndarray().ravel() for data in packets for frame in context.decode(av.Packet(data))]
        return np.concatenate(blocks).astype(np.float32) / np.float32(32768)

    def test_a_picture_of_sound_gives_one_packet_of_40_ms(self) -> None:
        """Packets and pictures come in pairs, and hold as many samples."""
        encoder = OpusEncoder()
        tone = np.sin(2 * np.pi * 440 * np.arange(10 * SAMPLES_PER_PICTURE) / 48_000).astype(np.float32) * 0.5
        packets = [encoder.encode(tone[i * SAMPLES_PER_PICTURE :][:SAMPLES_PER_PICTURE]) for i in range(10)]
        assert all(packets)
        heard = self.decode(packets)
        assert len(heard) == 10 * SAMPLES_PER_PICTURE
        spectrum = np.abs(np.fft.rfft(heard[SAMPLES_PER_PICTURE:]))
        assert np.argmax(spectrum) * 48_000 / (9 * SAMPLES_PER_PICTURE) == pytest.approx(440, abs=5)
        assert np.sqrt(np.mean(heard[2 * SAMPLES_PER_PICTURE :] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)

    def test_long_silence_repeats_one_packet_and_speech_after_it_is_whole(self) -> None:
        """Silence that lasts is coded once; nothing is heard in it, and sound after it starts as it should."""
        encoder = OpusEncoder()
        silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
        tone = (np.sin(2 * np.pi * 440 * np.arange(SAMPLES_PER_PICTURE) / 48_000) * 0.5).astype(np.float32)
        packets = [encoder.encode(block) for block in [tone] * 5 + [silence] * 60 + [tone] * 5]
        assert len({id(packet) for packet in packets[30:65]}) == 1
        heard = self.decode(packets).reshape(70, SAMPLES_PER_PICTURE)
        loudness = np.sqrt(np.mean(heard**2, axis=1))
        assert loudness[9:65].max() < 1e-3
        assert loudness[66:].min() > 0.3


def test_pcm_is_little_endian_and_clipped() -> None:
    """Samples outside [-1, 1] saturate instead of wrapping."""
    assert pcm16(np.array([0.0, 1.0, -1.0, 3.0, -3.0], np.float32)) == b"\x00\x00\xff\x7f\x01\x80\xff\x7f\x01\x80"


@pytest.mark.parametrize("make", [H264Encoder, Vp8Encoder])
def test_constant_quality_spends_little_on_a_still(make: Callable[..., VideoEncoder]) -> None:
    """Loops are coded at constant quality: pictures that do not change cost next to nothing."""
    encoder = make(4_000_000, crf=24)
    still = moving(1)[0]
    sizes = [len(encoder.encode(still)) for _ in range(20)]
    assert np.median(sizes) < sizes[0] / 10
