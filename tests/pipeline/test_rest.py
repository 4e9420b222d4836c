import numpy as np

from pipeline.rest import FADE_PICTURES, is_loud, mouth_weight


def weights(loud: list[bool]) -> list[int]:
    return [round(FADE_PICTURES * mouth_weight(loud, at, True)) for at in range(len(loud))]


def test_a_mouth_fades_in_before_speech_and_out_after_it() -> None:
    """Speech in the middle of a sentence is drawn fully, the pictures about it partly, silence not at all."""
    assert weights([False] * 5 + [True] * 2 + [False] * 5) == [0, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0, 0]


def test_a_sentence_begins_and_ends_at_rest() -> None:
    """Speech from the first picture to the last fades in and out within them."""
    assert weights([True] * 8) == [1, 2, 3, 3, 3, 3, 2, 1]


def test_a_short_pause_does_not_close_the_mouth() -> None:
    """Between loud pictures that are near each other the mouth never rests."""
    assert min(weights([True] * 4 + [False] * 3 + [True] * 4)[2:-2]) > 0


def test_later_audio_matters_for_three_pictures_only() -> None:
    """What is known FADE_PICTURES ahead fixes a weight, whatever follows."""
    rng = np.random.default_rng(1)
    loud = [bool(bit) for bit in rng.integers(0, 2, 60)]
    whole = [mouth_weight(loud, at, True) for at in range(50)]
    assert whole == [mouth_weight(loud[: at + FADE_PICTURES], at, False) for at in range(50)]


def test_what_is_loud() -> None:
    """A quiet voice is speech; the noise of a good recording is not, nor is nothing."""
    rng = np.random.default_rng(2)
    assert is_loud(rng.normal(0, 0.02, 1920).astype(np.float32))
    assert not is_loud(rng.normal(0, 0.002, 1920).astype(np.float32))
    assert not is_loud(np.zeros(0, np.float32))
