"""A microphone over WebRTC: packets in their order, without delay, decoded to 16 kHz, and silence for what is lost."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clock import ManualClock
from pipeline.transports.encoders import OpusEncoder
from pipeline.transports.incoming_opus import FAR, MAX_HELD_PACKETS, OpusMicrophone, RtpOrder, RtpPiece
from pipeline.types import LISTEN_RATE_HZ, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray

TONE_HZ = 440


def order_of(*sequences: int) -> list[int]:
    order = RtpOrder()
    return [piece.sequence for sequence in sequences for piece in order.put(RtpPiece(sequence, 0, b""))]


@pytest.mark.parametrize(
    ("came", "given"),
    [
        ((5, 6, 7), [5, 6, 7]),
        ((65534, 65535, 0, 1), [65534, 65535, 0, 1]),
        ((5, 7, 6, 8), [5, 6, 7, 8]),
        ((5, 5, 6, 6), [5, 6]),
        ((5, 6, 4, 7), [5, 6, 7]),
        ((5, 7, 8, 9), [5]),
        ((5, 7, 8, 9, 10, 11), [5, 7, 8, 9, 10, 11]),
        ((5, 7, 8, 9, 10, 6, 11), [5, 7, 8, 9, 10, 11]),
        ((5, 5 + 2 * FAR, 6 + 2 * FAR), [5, 5 + 2 * FAR, 6 + 2 * FAR]),
    ],
    ids=["in order", "wrapped", "swapped", "doubled", "from before", "waiting", "lost", "too late", "begun anew"],
)
def test_packets_are_given_in_their_order(came: tuple[int, ...], given: list[int]) -> None:
    """None waits unless one before it is missing, and then for a few packets only."""
    assert order_of(*came) == given


def test_no_more_packets_wait_than_the_bound() -> None:
    """Every second packet is lost, for long: what is given lags by the bound at most."""
    given = order_of(*range(0, 400, 2))
    assert given[-1] >= 398 - 2 * MAX_HELD_PACKETS


def encoded_tone(pictures: int) -> list[RtpPiece]:
    encoder = OpusEncoder()
    times = np.arange(pictures * SAMPLES_PER_PICTURE) / PLAYOUT_RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.float32).reshape(pictures, -1)
    return [
        RtpPiece(number, 1000 + number * SAMPLES_PER_PICTURE, encoder.encode(samples))
        for number, samples in enumerate(tone)
    ]


def heard(pieces: list[RtpPiece]) -> FloatArray:
    taken: list[FloatArray] = []
    microphone = OpusMicrophone(taken.append, ManualClock())
    for piece in pieces:
        microphone.take(piece)
    return np.concatenate(taken)


def test_a_tone_is_heard_at_its_pitch_and_level() -> None:
    """48 kHz Opus comes out as float32 at 16 kHz, as long as it was, but for what the filter holds back."""
    sound = heard(encoded_tone(25))
    assert sound.dtype == np.float32
    assert 0.95 * LISTEN_RATE_HZ < len(sound) <= LISTEN_RATE_HZ
    middle = sound[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert abs(np.argmax(spectrum) * LISTEN_RATE_HZ / len(middle) - TONE_HZ) < 3
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_lost_and_damaged_packets_are_silence_of_their_length() -> None:
    """What is heard lasts as long as without the loss, so it keeps its place in time."""
    pieces = encoded_tone(25)
    whole = heard(pieces)
    damaged = RtpPiece(pieces[12].sequence, pieces[12].timestamp, b"\xff" * 3)
    for received in (pieces[:12] + pieces[13:], [*pieces[:12], damaged, *pieces[13:]]):
        sound = heard(received)
        assert len(sound) == len(whole)
        assert np.abs(sound[12 * 640 + 200 : 13 * 640 - 200]).max() < 0.02


def test_nothing_is_heard_once_it_is_closed() -> None:
    """Closed twice is closed; packets that still come reach nobody."""
    taken: list[FloatArray] = []
    microphone = OpusMicrophone(taken.append, ManualClock())
    microphone.close()
    microphone.close()
    for piece in encoded_tone(5):
        microphone.take(piece)
    assert not taken
