"""`edge`: Microsoft's online voices in many languages, through the package edge-tts. MP3 is decoded as it arrives.

The text is sent to Microsoft. So this backend speaks only if somebody chose it, or `auto` needs it for a language that
no voice here can speak.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.text import detect_language, load_languages
from pipeline.tts.voice_names import require_voice
from pipeline.types import AudioChunk, FloatArray

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

__all__ = ["EdgeSynthesizer", "Mp3Decoder", "Speaking"]

logger = logging.getLogger(__name__)


class SpeechMessage(TypedDict):
    """The fields used of a message of edge_tts.Communicate.stream()."""

    type: str
    data: NotRequired[bytes]
    "MP3, if the type is `audio`"


Speaking = Callable[[str, str, float], AsyncGenerator[SpeechMessage, None]]
"""(text, voice, speed) -> messages."""

SAMPLE_RATE = 24_000
SERVICE = "https://speech.platform.bing.com"
CHUNK_S = 0.2
"""Shortest chunk; MP3 arrives in pieces of 24 ms."""

VOICES = {
    "en": ("en-US-AriaNeural", "en-US-GuyNeural", "en-GB-SoniaNeural", "en-GB-RyanNeural"),
    "zh": ("zh-CN-XiaoxiaoNeural", "zh-CN-YunxiNeural", "zh-CN-XiaoyiNeural", "zh-CN-YunyangNeural"),
    "ja": ("ja-JP-NanamiNeural", "ja-JP-KeitaNeural"),
    "ko": ("ko-KR-SunHiNeural", "ko-KR-InJoonNeural"),
    "de": ("de-DE-KatjaNeural", "de-DE-ConradNeural"),
    "es": ("es-ES-ElviraNeural", "es-ES-AlvaroNeural"),
    "fr": ("fr-FR-DeniseNeural", "fr-FR-HenriNeural"),
    "it": ("it-IT-ElsaNeural",),
    "pt": ("pt-BR-FranciscaNeural",),
    "nl": ("nl-NL-ColetteNeural",),
    "pl": ("pl-PL-ZofiaNeural",),
    "tr": ("tr-TR-EmelNeural",),
    "vi": ("vi-VN-HoaiMyNeural",),
    "id": ("id-ID-GadisNeural",),
    "sv": ("sv-SE-SofieNeural",),
    "da": ("da-DK-ChristelNeural",),
    "nb": ("nb-NO-PernilleNeural",),
    "fi": ("fi-FI-NooraNeural",),
    "cs": ("cs-CZ-VlastaNeural",),
    "sk": ("sk-SK-ViktoriaNeural",),
    "hu": ("hu-HU-NoemiNeural",),
    "ro": ("ro-RO-AlinaNeural",),
    "hr": ("hr-HR-GabrijelaNeural",),
    "ca": ("ca-ES-JoanaNeural",),
    "ru": ("ru-RU-SvetlanaNeural",),
    "uk": ("uk-UA-PolinaNeural",),
    "bg": ("bg-BG-KalinaNeural",),
    "ar": ("ar-EG-SalmaNeural",),
    "el": ("el-GR-AthinaNeural",),
    "he": ("he-IL-HilaNeural",),
    "fa": ("fa-IR-DilaraNeural",),
    "ur": ("ur-PK-UzmaNeural",),
    "hi": ("hi-IN-SwaraNeural",),
    "mr": ("mr-IN-AarohiNeural",),
    "ne": ("ne-NP-HemkalaNeural",),
    "bn": ("bn-IN-TanishaaNeural",),
    "gu": ("gu-IN-DhwaniNeural",),
    "ta": ("ta-IN-PallaviNeural",),
    "te": ("te-IN-ShrutiNeural",),
    "kn": ("kn-IN-SapnaNeural",),
    "ml": ("ml-IN-SobhanaNeural",),
    "si": ("si-LK-ThiliniNeural",),
    "ka": ("ka-GE-EkaNeural",),
    "am": ("am-ET-MekdesNeural",),
    "lo": ("lo-LA-KeomanyNeural",),
    "km": ("km-KH-SreymomNeural",),
    "my": ("my-MM-NilarNeural",),
    "th": ("th-TH-PremwadeeNeural",),
}
"""A selection of the service's voices by language, the default first."""

_HINT = "Check the network connection, or choose the voice 'hibari', which speaks English offline."


class EdgeSynthesizer:
    """Speaks each sentence by one request. Chunks come while the service is still speaking."""

    name = "edge"
    sample_rate = SAMPLE_RATE
    streaming = True
    phoneme_timing = False
    languages = frozenset(VOICES)
    voices = tuple(voice for voices in VOICES.values() for voice in voices)
    online_voices = frozenset(voices)
    speeds = (0.5, 2.0)

    def __init__(
        self,
        speaking: Speaking | None = None,
        reach: Callable[[], Awaitable[None]] | None = None,
        chunk_timeout_s: float = 8.0,
    ) -> None:
        """speaking, reach: stand-ins for the service, for tests. Raises BackendUnavailable."""
        for module, package in (("edge_tts", "edge-tts"), ("av", "av")):
            if importlib.util.find_spec(module) is None:
                raise BackendUnavailable(self.name, f"the package {package} is missing", f"pip install {package}")
        self._speaking = speaking or _speak_by_edge_tts
        self._reach = reach or _reach_service
        self._chunk_timeout_s = chunk_timeout_s

    def load(self) -> None:
        """Import the libraries, which takes a third of a second, so that no sentence waits for it."""
        import av  # noqa: F401
        import edge_tts  # noqa: F401

        load_languages()

    async def probe(self) -> None:
        """Check that the service answers. Raises BackendUnavailable."""
        try:
            await self._reach()
        except (OSError, TimeoutError) as error:
            raise BackendUnavailable(self.name, f"{SERVICE} cannot be reached", _HINT) from error

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. If cancelled, closes the connection at once."""
        require_voice(self.name, self.voices, voice)
        chosen = _voice_for(detect_language(text), voice)
        decoder = Mp3Decoder()
        start_sample = 0
        if any(map(str.isalnum, text)):
            async with aclosing(self._mp3(text, chosen, speed)) as pieces:
                async for piece in pieces:
                    samples = decoder.push(piece)
                    if len(samples):
                        yield AudioChunk(samples, SAMPLE_RATE, start_sample, voice=chosen)
                        start_sample += len(samples)
        yield AudioChunk(decoder.flush(), SAMPLE_RATE, start_sample, final=True, voice=chosen)

    async def aclose(self) -> None:
        """Do nothing: each sentence has its own connection."""

    async def _mp3(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        from aiohttp import ClientError
        from edge_tts.exceptions import EdgeTTSException

        async with aclosing(self._speaking(text, voice, speed)) as messages:
            while True:
                try:
                    async with asyncio.timeout(self._chunk_timeout_s):
                        message = await anext(messages)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    reason = f"The online voice gave nothing for {self._chunk_timeout_s:g} seconds."
                    raise SpeechError(reason, _HINT) from error
                except (ClientError, EdgeTTSException, OSError) as error:
                    logger.warning("%s, %s: %s", self.name, type(error).__name__, error)
                    raise SpeechError(_in_plain_words(error), _HINT) from error
                if message["type"] == "audio":
                    yield message["data"]


class Mp3Decoder:
    """Decodes MP3 in pieces of any size to float32 mono at 24 kHz, in pieces of at least CHUNK_S."""

    def __init__(self) -> None:
        from av.audio.codeccontext import AudioCodecContext

        codec = AudioCodecContext.create("mp3float", "r")
        assert isinstance(codec, AudioCodecContext)
        self._codec = codec
        self._decoded: list[FloatArray] = []

    def push(self, data: bytes) -> FloatArray:
        """Take MP3. Returns the decoded samples once they are long enough, else an empty array. Raises SpeechError."""
        self._decode(self._codec.parse(data))
        return self._take() if sum(map(len, self._decoded)) >= CHUNK_S * SAMPLE_RATE else np.zeros(0, np.float32)

    def flush(self) -> FloatArray:
        """Return the remaining samples."""
        self._decode([*self._codec.parse(b""), None])
        return self._take()

    def _decode(self, packets: Sequence[Packet[AudioStream] | None]) -> None:
        from av.error import FFmpegError

        try:
            frames = [frame for packet in packets for frame in self._codec.decode(packet)]
        except FFmpegError as error:
            raise SpeechError("The online voice sent sound that cannot be decoded.", "Try again.") from error
        for frame in frames:
            if frame.sample_rate != SAMPLE_RATE:
                raise SpeechError(f"The online voice speaks at {frame.sample_rate} Hz, not at {SAMPLE_RATE}.", _HINT)
            self._decoded.append(np.clip(frame.to_ndarray().mean(axis=0), -1, 1).astype(np.float32))

    def _take(self) -> FloatArray:
        decoded, self._decoded = self._decoded, []
        return np.concatenate(decoded) if decoded else np.zeros(0, np.float32)


def _voice_for(language: str, voice: str | None) -> str:
    """Return the wanted voice if it can read the text (all read English), else the default for the text's language.

    Raises LanguageNotSupported.
    """
    if voice is not None and (language == "en" or voice.startswith(f"{language}-")):
        return voice
    if language not in VOICES:
        raise LanguageNotSupported(f"There is no online voice for '{language}' here.", "Choose another language.")
    return VOICES[language][0]


def _in_plain_words(error: Exception) -> str:
    """Return the error in plain words. The libraries' own words are technical, and go to the log."""
    from aiohttp import ClientResponseError
    from edge_tts.exceptions import EdgeTTSException, NoAudioReceived

    match error:
        case NoAudioReceived():
            return "The online voice gave no sound for this sentence."
        case EdgeTTSException():
            return "The online voice answered in a way that is not understood here."
        case ClientResponseError(status=status):
            return f"The online voice refused to speak (HTTP {status})."
    return "The online voice cannot be reached, or the connection to it was cut."


def _speak_by_edge_tts(text: str, voice: str, speed: float) -> AsyncGenerator[SpeechMessage, None]:
    from edge_tts import Communicate

    stream: Any = Communicate(text, voice, rate=f"{round(100 * (speed - 1)):+d}%").stream()
    messages: AsyncGenerator[SpeechMessage, None] = stream
    return messages


async def _reach_service() -> None:
    """Check that the service gives any answer. Raises OSError, TimeoutError."""
    import aiohttp

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3.0), trust_env=True) as session:
        try:
            async with session.head(SERVICE):
                return
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error
