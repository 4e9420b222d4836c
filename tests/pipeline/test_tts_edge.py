"""The online voice, with a stand-in for the service; its MP3 is real."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from aiohttp import ClientConnectionError, RequestInfo, WSServerHandshakeError
from edge_tts.exceptions import NoAudioReceived
from fake_edge import RATE_HZ, FakeEdge, mp3, tone
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.tts.edge import EdgeSynthesizer, Mp3Decoder
from pipeline.types import AudioChunk

OWN_WORDS = "Cannot connect to host speech.platform.bing.com:443 ssl:<ssl.SSLContext object at 0x7f>"


def edge(fake: FakeEdge, chunk_timeout_s: float = 8.0) -> EdgeSynthesizer:
    return EdgeSynthesizer(fake.speaking, fake.reach, chunk_timeout_s)


async def speak(fake: FakeEdge, text: str, voice: str | None = None) -> list[AudioChunk]:
    return [chunk async for chunk in edge(fake).synthesize(text, voice)]


@pytest.mark.parametrize("piece_bytes", [1, 100, 720, 100_000])
def test_mp3_is_decoded_as_it_comes(piece_bytes: int) -> None:
    """MP3 in pieces of any size decodes to the sound that was encoded."""
    sound = tone(1.0)
    encoded = mp3(sound)
    decoder = Mp3Decoder()
    pushed = [decoder.push(encoded[at : at + piece_bytes]) for at in range(0, len(encoded), piece_bytes)]
    decoded = np.concatenate([*pushed, decoder.flush()])
    assert 0 <= len(decoded) - len(sound) < 0.2 * RATE_HZ
    delay = int(np.flatnonzero(np.abs(decoded) > 0.2)[0]) - int(np.flatnonzero(np.abs(sound) > 0.2)[0])
    match = np.corrcoef(decoded[delay : delay + len(sound) - delay], sound[: len(sound) - delay])[0, 1]
    assert match > 0.99


async def test_chunks_come_while_the_service_speaks() -> None:
    """The first chunk comes after a fifth of a second of sound, not at the end."""
    fake = FakeEdge()
    async with aclosing(edge(fake).synthesize("A sentence that is long enough.")) as chunks:
        first = await anext(chunks)
        assert fake.open_streams == 1
    assert 0.2 <= first.duration_s < 0.3
    assert not first.final
    assert fake.open_streams == 0


@pytest.mark.parametrize(
    ("text", "voice", "chosen"),
    [
        ("Hello", None, "en-US-AriaNeural"),
        ("你好", None, "zh-CN-XiaoxiaoNeural"),
        ("こんにちは", None, "ja-JP-NanamiNeural"),
        ("你好", "zh-CN-YunxiNeural", "zh-CN-YunxiNeural"),
        ("Hello", "zh-CN-YunxiNeural", "zh-CN-YunxiNeural"),
        ("你好", "en-US-GuyNeural", "zh-CN-XiaoxiaoNeural"),
    ],
)
async def test_voices(text: str, voice: str | None, chosen: str) -> None:
    """Each language has a default voice, also when the wanted voice cannot read it."""
    fake = FakeEdge()
    await speak(fake, text, voice)
    assert fake.spoken == [(text, chosen)]


async def test_unknown_voice_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice or a language that is not offered is refused before anything is sent."""
    fake = FakeEdge()
    with pytest.raises(SpeechError, match="no voice 'x'"):
        await speak(fake, "Hello", "x")
    monkeypatch.setattr("pipeline.tts.edge.VOICES", {"en": ("en-US-AriaNeural",)})
    with pytest.raises(LanguageNotSupported, match="'zh'"):
        await speak(fake, "你好")
    assert fake.spoken == []


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ClientConnectionError(OWN_WORDS), "cannot be reached"),
        (OSError(OWN_WORDS), "cannot be reached"),
        (NoAudioReceived(OWN_WORDS), "gave no sound"),
        (WSServerHandshakeError(RequestInfo(URL(), "GET", CIMultiDictProxy(CIMultiDict())), (), status=403), "403"),
    ],
)
async def test_failures(failure: Exception, told: str) -> None:
    """Whatever the service or the network fails with is told in plain words, with its remedy."""
    with pytest.raises(SpeechError, match=f"^The online voice .*{told}") as caught:
        await speak(FakeEdge(failure=failure), "Hello")
    assert "ssl" not in caught.value.message
    assert "hibari" in caught.value.hint


async def test_cut_in_mid_sentence() -> None:
    """A connection cut in the middle is an error after the chunks that came."""
    chunks = []
    with pytest.raises(SpeechError, match="was cut"):
        async for chunk in edge(FakeEdge(after="die")).synthesize("A sentence that is long enough."):
            chunks.append(chunk)  # noqa: PERF401 - they must survive the error
    assert chunks
    assert not any(chunk.final for chunk in chunks)


async def test_hang() -> None:
    """A service that hangs is given up, and its connection closed."""
    fake = FakeEdge(after="hang")
    with pytest.raises(SpeechError, match="gave nothing"):
        async for _ in edge(fake, chunk_timeout_s=0.05).synthesize("Hello there, you."):
            pass
    assert fake.open_streams == 0


async def test_garbage_instead_of_sound() -> None:
    """Sound at another rate than the promised one is refused, not played too slow."""
    with pytest.raises(SpeechError, match="16000 Hz"):
        Mp3Decoder().push(mp3(tone(1.0), rate_hz=16_000))


async def test_cancelling_closes_the_connection() -> None:
    """Cancelling whoever listens closes the connection."""
    fake = FakeEdge(after="hang")
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in edge(fake).synthesize("A sentence that is long enough."):
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    await asyncio.wait([task])
    assert fake.open_streams == 0


async def test_probe() -> None:
    """Probing returns when the service answers, and says what to do when it does not."""
    await edge(FakeEdge()).probe()
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await edge(FakeEdge(is_reachable=False)).probe()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package the backend says how to get it, when it is chosen."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable, match="pip install edge-tts"):
        EdgeSynthesizer()
