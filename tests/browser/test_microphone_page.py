"""The microphone of the Talk tab, in a real Chromium whose fake device plays a recorded question."""

from __future__ import annotations

import asyncio
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import expect

from pipeline import registry
from pipeline.audio import StreamResampler
from pipeline.errors import BackendUnavailable
from tests.browser.conftest import MOUTH, Visitor

pytestmark = pytest.mark.browser

QUESTION = "What is the weather like in London today?"
RATE_HZ = 48_000
UTTERANCES = 3
"""How often something is said or coughed: what a busy machine has cut to pieces may be heard as other words."""
QUESTIONS = "document.querySelectorAll('.vv-asked').length"
ASKED_IT = (
    "[...document.querySelectorAll('.vv-asked:not(.vv-pending)')]"
    ".some((one) => one.innerText.toLowerCase().includes('weather like in london'))"
)
COUNTED = "one two three four five six seven eight nine ten"
UNASKED_DEVICE = ("--use-fake-device-for-media-stream",)
FAKE_DEVICE = (*UNASKED_DEVICE, "--use-fake-ui-for-media-stream")
"""With the question whether the page may use it answered."""
TRANSPORTS = pytest.mark.parametrize("query", ["", "?transport=websocket"], ids=["webrtc", "websocket"])


def lacks_ears() -> bool:
    """Whether the extra `ears` is missing here."""
    try:
        registry.create("vad", "silero")
        registry.create("asr", "faster-whisper")
    except BackendUnavailable:
        return True
    return False


LACKS_EARS = lacks_ears()


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of the question, between a second of silence and three; the device plays it again and again."""
    return write_wav(tmp_path_factory.mktemp("microphone") / "question.wav", spoken_question())


@pytest.fixture(scope="module")
def cough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV of somebody who makes a sound without words every ten seconds, as with a cough."""
    sound = np.concatenate([np.zeros(2 * RATE_HZ), coughs(), np.zeros(7 * RATE_HZ)])
    return write_wav(tmp_path_factory.mktemp("microphone") / "cough.wav", sound)


def coughs() -> np.ndarray:
    """(n,) at RATE_HZ: 1 s of a voice without words. Voice activity takes it for speech, and it is long enough."""
    vowels = [vowel(pitch_hz) for pitch_hz in (110, 105)]
    return np.concatenate([vowels[0], np.zeros(RATE_HZ // 5), vowels[1]])


def vowel(pitch_hz: float) -> np.ndarray:
    """(n,) at RATE_HZ: 0.4 s of a voice whose pitch falls."""
    seconds = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    phase = np.cumsum(pitch_hz * np.linspace(1.1, 0.8, len(seconds))) / RATE_HZ
    source = (np.diff(np.floor(phase), prepend=0) > 0).astype(float)
    sound = sum(resonance(source, hz, 80 + 40 * rank) / (1 + rank) for rank, hz in enumerate((350, 1100, 2300)))
    edges = np.minimum(1, seconds / 0.02) * np.minimum(1, (seconds[-1] - seconds) / 0.08)
    return np.asarray(0.3 * sound * edges / np.abs(sound).max())


def resonance(source: np.ndarray, hz: float, width_hz: float) -> np.ndarray:
    """A formant: `source` through a resonator."""
    near = np.exp(-np.pi * width_hz / RATE_HZ)
    first, second = 2 * near * np.cos(2 * np.pi * hz / RATE_HZ), -near * near
    sound = np.zeros(len(source) + 2)
    for index, sample in enumerate(source):
        sound[index + 2] = (1 - near) * sample + first * sound[index + 1] + second * sound[index]
    return sound[2:]


def spoken_question() -> np.ndarray:
    """(n,) at RATE_HZ."""

    async def spoken() -> np.ndarray:
        voice = registry.create("tts", "hibari")
        await asyncio.to_thread(voice.load)
        samples = np.concatenate([chunk.samples async for chunk in voice.synthesize(QUESTION)])
        await voice.aclose()
        resampler = StreamResampler(voice.sample_rate, RATE_HZ)
        return np.concatenate([resampler.push(samples), resampler.flush()])

    return np.concatenate([np.zeros(RATE_HZ), asyncio.run(spoken()), np.zeros(3 * RATE_HZ)])


def write_wav(path: Path, sound: np.ndarray) -> Path:
    """sound: (n,) at RATE_HZ."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((32000 * sound).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(("query", "words"), [("?lang=en", "may not use"), ("?lang=zh", "不允许")])
async def test_a_microphone_that_is_refused_is_told_with_the_remedy(visit: Visitor, query: str, words: str) -> None:
    """The reason is in the chat, in the language of the page; the button is up again, and typing goes on."""
    page = await visit(query, flags=UNASKED_DEVICE)
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("document.querySelector('.vv-note[data-code=microphone_refused]')")
    await expect(page.page.locator(".vv-note")).to_contain_text(words)
    await expect(page.page.locator("#vv-mic")).to_have_attribute("aria-pressed", "false")
    await page.eventually("vivavoce.stats().ears.mode", "off")
    await page.say("one two three")
    await page.until("vivavoce.stats().turnState === 'done'")


async def test_a_machine_without_a_microphone_is_told_so(visit: Visitor) -> None:
    """The page may use one, but there is none."""
    page = await visit()
    await page.page.context.grant_permissions(["microphone"])
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("document.querySelector('.vv-note[data-code=microphone_missing]')")


async def test_one_that_is_unplugged_in_mid_word_is_told(visit: Visitor) -> None:
    """The track ends as it does when the plug is pulled: the button is up, and the session goes on."""
    keep = """
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await ask(wanted));
    """
    page = await visit(flags=FAKE_DEVICE, before=keep)
    await page.start()
    await page.run("vivavoce.listen(true)")
    await page.until("vivavoce.stats().ears.microphone.echoCancellation")
    await page.run("stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    await page.until("document.querySelector('.vv-note[data-code=microphone_unplugged]')")
    await expect(page.page.locator("#vv-mic")).to_have_attribute("aria-pressed", "false")
    assert (await page.stats())["state"] == "live"


async def test_held_down_it_listens_and_let_go_it_does_not(visit: Visitor) -> None:
    """Push to talk, by the button and by the space bar; a space in a text that has begun is a space."""
    page = await visit(flags=FAKE_DEVICE)
    await page.page.select_option("[name=way]", "hold", force=True)
    await page.start()
    mode = "vivavoce.stats().ears.mode"
    await page.page.hover("#vv-mic")
    await page.page.mouse.down()
    await page.eventually(mode, "hold")
    await page.page.mouse.up()
    await page.eventually(mode, "off")
    await page.page.focus(".vv-composer textarea")
    await page.page.keyboard.down("Space")
    await page.eventually(mode, "hold")
    await page.page.keyboard.up("Space")
    await page.eventually(mode, "off")
    await page.page.keyboard.type("a")
    await page.page.keyboard.down("Space")
    await expect(page.page.locator(".vv-composer textarea")).to_have_value("a ")
    assert await page.run(mode) == "off"
    await page.page.keyboard.up("Space")


@pytest.mark.skipif(not LACKS_EARS, reason="the extra `ears` is installed")
async def test_without_ears_the_page_says_what_is_missing(visit: Visitor) -> None:
    """The command that brings them is told, and the microphone is closed again."""
    page = await visit(flags=FAKE_DEVICE)
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("document.querySelector('.vv-note[data-code=backend_unavailable]')")
    await expect(page.page.locator(".vv-note")).to_contain_text("fetch ears")
    await page.until("vivavoce.stats().ears.mode === 'off'")


@pytest.mark.alone
@pytest.mark.skipif(LACKS_EARS, reason="needs the extra `ears`")
@TRANSPORTS
async def test_a_spoken_question_becomes_text_and_is_answered(visit: Visitor, question: Path, query: str) -> None:
    """What the device plays is heard over either transport, shown as the viewer's question, and answered."""
    flags = (*FAKE_DEVICE, f"--use-file-for-fake-audio-capture={question}")
    page = await visit(query, flags=flags)
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("vivavoce.stats().ears.state === 'hearing'", within_s=90)
    # It is played again and again: where the machine stood still in the middle of one, the next is heard whole.
    await page.until(ASKED_IT, within_s=150)
    await page.page.click("#vv-mic")
    await page.until("vivavoce.stats().turnState === 'done'", within_s=60)
    await page.eventually("vivavoce.stats().ears.microphone", None)


@pytest.mark.alone
@pytest.mark.skipif(LACKS_EARS, reason="needs the extra `ears`")
async def test_a_cough_over_the_answer_holds_it_for_a_moment(visit: Visitor, cough: Path) -> None:
    """The avatar falls silent, the recogniser finds no words in the cough, and the answer goes on where it was cut."""
    page = await visit(flags=(*FAKE_DEVICE, f"--use-file-for-fake-audio-capture={cough}"))
    await page.start()
    await page.run("""
        window.holds = [];
        window.asked = [];
        vivavoce.on("hold", ({ held }) => holds.push([held, vivavoce.stats().turn, probe.onsets.length]));
        // What is not final may be invented, from half a cough: it is taken back, and ends no answer.
        vivavoce.on("transcript", ({ text, final }) => final && text && asked.push(text));
    """)
    await page.page.click("#vv-mic")
    await page.until("vivavoce.stats().ears.state !== 'off'", within_s=90)
    for _ in range(UTTERANCES):  # Whisper may find a word in one of them, and then that is asked, which is right
        await page.run("(holds.length = asked.length = 0)")
        shown = await page.run(QUESTIONS)
        await page.say(". ".join([COUNTED] * 40))
        await page.until("holds.length >= 2 || asked.length", within_s=120)
        if not await page.run("asked.length"):
            break
    (held, turn, _), (goes_on, same, sounds) = (await page.run("holds"))[:2]
    assert (held, goes_on, same) == (True, False, turn)
    await page.until(f"probe.onsets.length > {sounds + 3}")
    stats = await page.stats()
    assert (stats["turn"], stats["turnState"]) == (turn, "speaking")
    assert await page.run("asked") == []
    await page.eventually(QUESTIONS, shown)


@pytest.mark.alone
@pytest.mark.skipif(LACKS_EARS, reason="needs the extra `ears`")
@pytest.mark.firefox
@TRANSPORTS
async def test_firefox_hears_a_spoken_question(
    firefox_visit: Visitor, speaker: dict[str, str], question: Path, query: str
) -> None:
    """From a real sound device (PulseAudio's): it is shown as the viewer's question, and answered."""
    page = await firefox_visit(query)
    await page.start()
    await page.page.click("#vv-mic")
    await page.until("vivavoce.stats().ears.state === 'listening'", within_s=90)
    await page.run("(window.heard = 0, vivavoce.on('transcript', ({ final }) => (heard += final)), 0)")
    for number in range(UTTERANCES):
        said = await asyncio.create_subprocess_exec(
            "paplay", f"--device={MOUTH}", str(question), env={**os.environ, **speaker}
        )
        assert await said.wait() == 0
        await page.until(f"heard > {number}", within_s=90)
        if await page.run(ASKED_IT):
            break
    assert await page.run(ASKED_IT)
    await page.until("vivavoce.stats().turnState === 'done'", within_s=60)
