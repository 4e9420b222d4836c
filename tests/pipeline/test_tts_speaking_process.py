"""A voice in a process of its own: what it cannot do costs a sentence, never the portal."""

import threading
from collections.abc import Iterator

import pytest

from pipeline.errors import SpeechError
from pipeline.tts.speaking_process import SpeakingProcess


@pytest.fixture
def process() -> Iterator[SpeakingProcess]:
    made = SpeakingProcess("toy", "tests.speaking_child")
    yield made
    made.close()


def test_it_answers_in_order(process: SpeakingProcess) -> None:
    """Each order gets its own answer, also when the text has line breaks, quotes and letters of any script."""
    for text in ("Hello", 'a "b"\n c', "你好 🙂", "x" * 100_000):
        assert process.speak(text, "v").decode() == f"v: {text}"


def test_a_sentence_that_fails_leaves_the_next_alone(process: SpeakingProcess) -> None:
    """What the library raises, or its death, is the error of one sentence; the next is spoken by a new process."""
    for trouble in ("fail", "die", "die"):
        with pytest.raises(SpeechError, match="'toy' cannot read this sentence"):
            process.speak(trouble, "v")
        assert process.speak("Hello", "v") == b"v: Hello"


def test_a_sentence_that_hangs_is_given_up() -> None:
    """A process that does not answer in time is ended, and the sentence fails."""
    process = SpeakingProcess("toy", "tests.speaking_child", patience_s=2.0)
    try:
        with pytest.raises(SpeechError):
            process.speak("hang", "v")
        assert process.speak("Hello", "v") == b"v: Hello"
    finally:
        process.close()


def test_it_knows_no_secrets(process: SpeakingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment only what programs need is passed on: keys and passwords are not."""
    monkeypatch.setenv("VIVAVOCE_LLM_API_KEY", "secret")
    assert "VIVAVOCE" not in process.speak("environment", "v").decode()


def test_closing_ends_what_is_being_spoken(process: SpeakingProcess) -> None:
    """Closing ends a sentence that hangs, can be repeated, and nothing is spoken after it."""
    process.speak("Hello", "v")
    caught: list[SpeechError] = []
    begun = threading.Event()

    def speak() -> None:
        begun.set()
        try:
            process.speak("hang", "v")
        except SpeechError as error:
            caught.append(error)

    speaker = threading.Thread(target=speak)
    speaker.start()
    begun.wait()
    process.close()
    process.close()
    speaker.join(30)
    assert len(caught) == 1
    with pytest.raises(SpeechError, match="closed"):
        process.speak("Hello", "v")


def test_the_process_is_told_the_speed(process: SpeakingProcess) -> None:
    """How fast to speak is part of an order."""
    assert process.speak("hello", "ann", 1.5) == b"ann: hello at 1.5"
