"""Which of Whisper's answers are words that somebody said."""

from __future__ import annotations

import pytest

from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of


def segment(text: str, no_speech: float = 0.1, log_probability: float = -0.3, compression: float = 1.2) -> Segment:
    return Segment(text, no_speech, log_probability, compression)


def test_words_are_kept_as_they_are() -> None:
    """Segments are joined, space around them goes."""
    assert words_of([segment(" How are"), segment(" you? ")]) == "How are you?"
    assert words_of([]) == ""


@pytest.mark.parametrize(
    "invented",
    [
        segment("Thanks for watching!", no_speech=0.7),
        segment(" Thank you.", log_probability=-0.8),
        segment("谢谢观看。", no_speech=0.8),
        segment("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", log_probability=-0.9),
        segment("anything", no_speech=0.9, log_probability=-1.5),
        segment("I'm sorry.", no_speech=0.58, log_probability=-1.7),  # for a hum
        segment("So, you know what I mean?", no_speech=0.46, log_probability=-1.12),  # for another
        segment("We can get a camera in the theater.", no_speech=0.29, log_probability=-1.88),  # for a third
        segment("I'm not a boss, I'm a boss.", no_speech=0.29, log_probability=-1.64),  # for music
        segment("ha ha ha ha ha ha ha ha ha", compression=3.0),
        segment("[music]"),
        segment("(laughs) ♪ la ♪"),
        segment("..."),
        segment(" B-B-B-B"),  # for two short sounds without words
        segment("b, b, b..."),
    ],
)
def test_what_is_written_for_noise_is_dropped(invented: Segment) -> None:
    """By Whisper's own doubts, by the phrases of subtitles where it is not sure, and remarks about sound always."""
    assert words_of([invented]) == ""


@pytest.mark.parametrize("text", ["Thank you.", "谢谢观看", "Goodbye.", "You", "B-B-Because", "A b c", "好，好，好"])
def test_a_sure_phrase_is_kept(text: str) -> None:
    """People say thank you, spell and stammer; only doubtful phrases are dropped, and letters that make no word."""
    assert words_of([segment(text)]) == text


def test_unsure_words_are_kept_where_somebody_certainly_spoke() -> None:
    """A mumbled question, or one in a noisy room."""
    assert words_of([segment("Where is it?", no_speech=0.1, log_probability=-1.2)]) == "Where is it?"


def test_one_invented_segment_does_not_cost_the_others() -> None:
    """Each is judged alone."""
    assert words_of([segment("What is this?"), segment(" Thanks for watching.", no_speech=0.7)]) == "What is this?"


def test_only_chinese_is_prompted() -> None:
    """For simplified characters; every language has a code of two or three letters."""
    assert prompt_for("zh") == "以下是普通话的句子。"
    assert prompt_for("en") is prompt_for(None) is None
    assert all(2 <= len(code) <= 3 for code in LANGUAGES)
    assert len(LANGUAGES) == 99
