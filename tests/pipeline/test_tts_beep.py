"""The beeping voice."""

import numpy as np
import pytest

from pipeline.audio import dbfs
from pipeline.tts.beep import BeepSynthesizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", 2),
        ("don't 3.14 config.yaml", 3),
        ("你好，世界", 4),
        ("Hi你好 there", 4),
        ("- 😀 a", 1),
        ("... 😀", 0),
    ],
)
async def test_a_beep_a_word(text: str, words: int) -> None:
    """Each word, and each Chinese character, is 100 ms of 1 kHz and 100 ms of silence."""
    chunks = [chunk async for chunk in BeepSynthesizer().synthesize(text)]
    speech = np.concatenate([chunk.samples for chunk in chunks])
    assert len(speech) == words * 9600
    for word in speech.reshape(-1, 2, 4800):
        spectrum = np.abs(np.fft.rfft(word[0]))
        assert spectrum.argmax() * 10 == 1000
        assert dbfs(word[0]) > -15
        assert not word[1].any()
