"""Who said what when, as WebVTT."""

from __future__ import annotations

from pipeline.transcript import Transcript


def test_cues_are_in_order_and_name_who_speaks() -> None:
    """A question has no length of its own: it is shown for two seconds."""
    transcript = Transcript()
    transcript.add("assistant", "Good morning.", 3661.5, 3662.75)
    transcript.add("user", "Hello", 0.04, 0.04)
    assert transcript.vtt() == (
        "WEBVTT\n\n"
        "00:00:00.040 --> 00:00:02.040\n<v Viewer>Hello\n\n"
        "01:01:01.500 --> 01:01:02.750\n<v Avatar>Good morning.\n"
    )


def test_words_cannot_become_tags_or_end_a_cue() -> None:
    """WebVTT ends a cue at an empty line and knows tags."""
    transcript = Transcript()
    transcript.add("user", "a <b> & c\n\n00:00 --> 00:01", 0, 0)
    assert transcript.vtt().splitlines()[3:] == ["<v Viewer>a &lt;b&gt; &amp; c 00:00 --&gt; 00:01"]


def test_nothing_is_noted_of_silence() -> None:
    """Texts without a word are no entries."""
    transcript = Transcript()
    transcript.add("assistant", " \n", 0, 1)
    assert transcript.entries == []
