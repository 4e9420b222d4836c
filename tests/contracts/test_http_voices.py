"""What every voice that a service speaks keeps to, against a local server that answers in the service's own format."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs
from xml.etree import ElementTree

import numpy as np
import pytest
from aiohttp import web
from fake_voice_service import EagerClock, FakeVoiceService, pcm_tone, wav_tone

from pipeline import registry
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.tts.http_voice import HttpVoice
from pipeline.tts.tencent import signature
from pipeline.types import AudioChunk

TEXT = "Hello there, Bob."


@dataclass(frozen=True)
class Wire:
    """A service's format: the body of a good answer, and what a good request looks like."""

    body: Callable[[web.Request, bytes], bytes]
    is_request: Callable[[web.Request, bytes, str], bool]
    "(request, its body, voice) -> whether the service would take it"
    headers: Mapping[str, str] = field(default_factory=dict)
    "of a good answer"
    api_key: str = "secret"
    comes_whole: bool = False
    "no sound is known before the answer has ended"


PIECES = [pcm_tone(1.0)[at : at + 4801] for at in range(0, 48_000, 4801)]
"A second of sound as services cut it, in the middle of samples too."
IN_JSON = {"Content-Type": "application/json"}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _qwen_answer(_request: web.Request, _content: bytes) -> bytes:
    events: list[dict[str, object]] = [{"output": {"audio": {"data": _base64(piece), "id": "a"}}} for piece in PIECES]
    events += [{"output": {"audio": {"data": "", "url": "http://x/a.wav"}, "finish_reason": "stop"}}]
    return b"".join(
        f"id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(event)}\n\n".encode()
        for number, event in enumerate(events, 1)
    )


def _doubao_answer(_request: web.Request, _content: bytes) -> bytes:
    events: list[dict[str, object]] = [{"code": 0, "message": "", "data": _base64(piece)} for piece in PIECES]
    events += [{"code": 0, "message": "", "data": None, "sentence": {"text": TEXT}}]
    events += [{"code": 20_000_000, "message": "ok", "data": None}]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def _tencent_answer(_request: web.Request, _content: bytes) -> bytes:
    sound = {"Audio": _base64(wav_tone(1.0, 16_000)), "SessionId": "s", "RequestId": "r"}
    return json.dumps({"Response": sound}).encode()


def _is_qwen_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", "/api/v1/services/aigc/multimodal-generation/generation")
        and (request.headers["Authorization"], request.headers["X-DashScope-SSE"]) == ("Bearer secret", "enable")
        and json.loads(content)
        == {"model": "qwen3-tts-flash", "input": {"text": TEXT, "voice": voice, "language_type": "English"}}
    )


def _is_doubao_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "speaker": voice, "audio_params": {"format": "pcm", "sample_rate": 24_000}}
    return (
        (request.method, request.path) == ("POST", "/api/v3/tts/unidirectional")
        and (request.headers["X-Api-Key"], request.headers["X-Api-Resource-Id"]) == ("secret", "seed-tts-2.0")
        and json.loads(content) == {"user": {"uid": "vivavoce"}, "req_params": asked}
    )


def _is_tencent_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = json.loads(content)
    date, now_s = request.headers["Authorization"].split("/")[1], int(request.headers["X-TC-Timestamp"])
    scope = f"{date}/tts/tc3_request"
    signed = signature("secret", request.headers["Host"], scope, now_s, content.decode())
    return (
        (request.method, request.path) == ("POST", "/")
        and (request.headers["X-TC-Action"], request.headers["X-TC-Version"]) == ("TextToVoice", "2019-08-23")
        and request.headers["Authorization"]
        == f"TC3-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=content-type;host, Signature={signed}"
        and bool(asked.pop("SessionId"))
        and asked == {"Text": TEXT, "VoiceType": int(voice), "PrimaryLanguage": 2, "SampleRate": 16_000, "Codec": "wav"}
    )


def _is_index_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "spk_audio_path": voice}
    return (request.method, request.path) == ("POST", "/tts_url") and json.loads(content) == asked


def _is_openai_request(request: web.Request, content: bytes, voice: str) -> bool:
    asked = json.loads(content)
    return (
        (request.method, request.path) == ("POST", "/audio/speech")
        and request.headers["Authorization"] == "Bearer secret"
        and asked == {"model": "tts-1", "voice": voice, "input": TEXT, "response_format": "pcm"}
    )


def _is_sovits_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (request.method, request.path) == ("POST", "/tts") and json.loads(content) == {
        "text": TEXT,
        "text_lang": "en",
        "ref_audio_path": voice,
        "prompt_lang": "zh",
        "media_type": "wav",
        "streaming_mode": True,
    }


def _is_cosyvoice_request(request: web.Request, content: bytes, voice: str) -> bool:
    form = {"tts_text": [TEXT], "spk_id": [voice]}
    return (request.method, request.path) == ("GET", "/inference_sft") and parse_qs(content.decode()) == form


def _is_fish_speech_request(request: web.Request, content: bytes, _voice: str) -> bool:
    asked = {"text": TEXT, "format": "wav", "streaming": True}
    return (request.method, request.path) == ("POST", "/v1/tts") and json.loads(content) == asked


def _is_fish_audio_request(request: web.Request, content: bytes, _voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", "/v1/tts")
        and (request.headers["Authorization"], request.headers["model"]) == ("Bearer secret", "s2.1-pro")
        and json.loads(content) == {"text": TEXT, "format": "wav"}
    )


def _is_xtts_request(request: web.Request, _content: bytes, voice: str) -> bool:
    asked = {"text": TEXT, "speaker_wav": voice, "language": "en"}
    return (request.method, request.path) == ("GET", "/tts_stream") and dict(request.query) == asked


def _is_elevenlabs_request(request: web.Request, content: bytes, voice: str) -> bool:
    return (
        (request.method, request.path) == ("POST", f"/v1/text-to-speech/{voice}/stream")
        and dict(request.query) == {"output_format": "pcm_24000"}
        and request.headers["xi-api-key"] == "secret"
        and json.loads(content) == {"text": TEXT, "model_id": "eleven_flash_v2_5"}
    )


def _is_azure_request(request: web.Request, content: bytes, voice: str) -> bool:
    speak = ElementTree.fromstring(content)
    (spoken,) = speak
    return (
        (request.method, request.path) == ("POST", "/cognitiveservices/v1")
        and request.headers["Ocp-Apim-Subscription-Key"] == "secret"
        and request.headers["X-Microsoft-OutputFormat"] == "raw-24khz-16bit-mono-pcm"
        and request.headers["Content-Type"] == "application/ssml+xml"
        and speak.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "en-US"
        and (spoken.attrib["name"], spoken.text) == (voice, TEXT)
    )


WIRES: dict[str, Wire] = {
    "openai-speech": Wire(lambda _request, _content: pcm_tone(1.0), _is_openai_request),
    "gpt-sovits": Wire(lambda _request, _content: wav_tone(1.0, 32_000), _is_sovits_request),
    "cosyvoice": Wire(lambda _request, _content: pcm_tone(1.0, 22_050), _is_cosyvoice_request),
    "fish-speech": Wire(lambda _request, _content: wav_tone(1.0, 44_100), _is_fish_speech_request),
    "fish-audio": Wire(lambda _request, _content: wav_tone(1.0, 44_100), _is_fish_audio_request),
    "xtts": Wire(lambda _request, _content: wav_tone(1.0), _is_xtts_request),
    "elevenlabs": Wire(lambda _request, _content: pcm_tone(1.0), _is_elevenlabs_request),
    "azure": Wire(lambda _request, _content: pcm_tone(1.0), _is_azure_request),
    "index-tts": Wire(lambda _request, _content: wav_tone(1.0, 22_050), _is_index_request),
    "qwen-tts": Wire(_qwen_answer, _is_qwen_request, {"Content-Type": "text/event-stream;charset=UTF-8"}),
    "doubao": Wire(_doubao_answer, _is_doubao_request, IN_JSON),
    "tencent": Wire(_tencent_answer, _is_tencent_request, IN_JSON, api_key="AKID:secret", comes_whole=True),
}


def test_every_voice_of_a_service_is_tried() -> None:
    """The table above knows the format of each row of the registry that speaks over HTTP."""
    rows = {name for name in registry.names("tts") if issubclass(registry.backend_class("tts", name), HttpVoice)}
    assert rows == set(WIRES)


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> tuple[str, Wire]:
    return request.param, WIRES[request.param]


@pytest.fixture
async def house(wire: tuple[str, Wire]) -> AsyncIterator[tuple[FakeVoiceService, HttpVoice]]:
    name, format_ = wire
    async with FakeVoiceService(format_.body, headers=format_.headers).serving() as service:
        options = {"api_key": format_.api_key, "timeout_s": 2.0, "clock": EagerClock()}
        voice = registry.create("tts", name, base_url=service.base_url, **options)
        yield service, voice
        await voice.aclose()
        await voice.aclose()


async def speak(voice: HttpVoice, text: str = TEXT) -> list[AudioChunk]:
    return [chunk async for chunk in voice.synthesize(text)]


async def test_it_speaks_as_the_service_does(house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]) -> None:
    """The request is one that the service takes; its second of sound comes in several chunks, unchanged."""
    service, voice = house
    chunks = await speak(voice)
    ((request, content),) = service.requests
    assert wire[1].is_request(request, content, voice.voices[0])
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    sound = np.concatenate([chunk.samples for chunk in chunks])
    rate_hz = chunks[0].sample_rate
    assert len(sound) == rate_hz
    assert len(chunks) >= (2 if wire[1].comes_whole else 4)
    assert np.allclose(sound, np.frombuffer(pcm_tone(1.0, rate_hz), "<i2") / 32768, atol=0.01)
    assert {chunk.voice for chunk in chunks} == {voice.voices[0]}


async def test_what_passes_is_asked_for_again(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """A service that is busy once is asked once more; one that stays busy is an error that says so."""
    service, voice = house
    service.status, service.fails = 503, 1
    assert len(await speak(voice)) >= 2
    assert len(service.requests) == 2
    service.fails = 0
    with pytest.raises(SpeechError, match="busy"):
        await speak(voice)
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "key"), (402, "credit"), (400, "refused"), (404, "refused"), (429, "busy"), (500, "busy")],
)
async def test_a_refusal_is_told_in_plain_words(
    house: tuple[FakeVoiceService, HttpVoice], status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the cause; the service's own words go to the log, without the key."""
    service, voice = house
    service.status, service.refusal = status, b"<html>the key secret is wrong</html>" * 10
    with pytest.raises(SpeechError, match=told) as caught:
        await speak(voice)
    assert caught.value.hint
    assert caught.value.cause == told
    assert "secret" not in caplog.text
    assert "***" in caplog.text


@pytest.mark.parametrize("after", ["die", "hang"])
async def test_half_an_answer_is_an_error_after_its_sound(
    house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire], after: str
) -> None:
    """What came is spoken, then the error comes. Then the request is not sent again, for nothing is said twice."""
    service, voice = house
    service.after = after
    came: list[AudioChunk] = []
    with pytest.raises(SpeechError, match=r"cut|no sound"):
        async for chunk in voice.synthesize(TEXT):
            came += [chunk]
    assert not any(chunk.final for chunk in came)
    assert (bool(came), len(service.requests)) == ((False, 2) if wire[1].comes_whole else (True, 1))


async def test_cancelling_closes_the_connection(
    house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]
) -> None:
    """Who stops listening leaves the service at once, also while no sound has come."""
    service, voice = house
    service.after = "hang"
    async with asyncio.timeout(10):
        if wire[1].comes_whole:
            listening = asyncio.create_task(speak(voice))
            await service.sent.wait()
            listening.cancel()
        else:
            async with aclosing(voice.synthesize(TEXT)) as chunks:
                await anext(chunks)
        await service.left.wait()


async def test_who_asks_for_a_long_pause_is_not_asked_again(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """A service that names a time far ahead is believed: the error says when to try again."""
    service, voice = house
    service.status, service.headers = 429, {"Retry-After": "30"}
    with pytest.raises(SpeechError, match="busy") as caught:
        await speak(voice)
    assert "30 seconds" in caught.value.hint
    assert len(service.requests) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
async def test_a_page_is_not_played_as_sound(house: tuple[FakeVoiceService, HttpVoice], kind: str) -> None:
    """A good answer that says it is text is an error, whatever it holds."""
    service, voice = house
    service.headers, service.body = {"Content-Type": kind}, lambda _request, _content: b"<html>Welcome</html>" * 999
    with pytest.raises(SpeechError, match="instead of sound") as caught:
        await speak(voice)
    assert caught.value.cause == "not_sound"
    assert len(service.requests) == 1


async def test_something_else_than_sound_is_an_error(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """An answer without a byte is an error, not a silent sentence."""
    service, voice = house
    service.body = lambda _request, _content: b""
    with pytest.raises(SpeechError):
        await speak(voice)


async def test_nothing_to_say_asks_nobody(house: tuple[FakeVoiceService, HttpVoice]) -> None:
    """Text without a word is one empty, final chunk, without a request."""
    service, voice = house
    (chunk,) = await speak(voice, "...")
    assert chunk.final
    assert not service.requests


async def test_reach(house: tuple[FakeVoiceService, HttpVoice], wire: tuple[str, Wire]) -> None:
    """Probing tells a service that answers from one that is not there."""
    _service, voice = house
    await voice.probe()
    absent = registry.create("tts", wire[0], base_url="http://127.0.0.1:9", api_key=wire[1].api_key)
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await absent.probe()
    with pytest.raises(SpeechError, match="cannot be reached"):
        await speak(absent)
    await absent.aclose()


async def test_options_go_into_the_request() -> None:
    """What the operator adds goes to the service by its own names, and wins over what the voice would say."""
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        options = {"prompt_lang": "en", "prompt_text": "Hello, you.", "speed_factor": 1.1}
        voice = registry.create("tts", "gpt-sovits", base_url=service.base_url, options=options)
        await speak(voice)
        await voice.aclose()
    asked = json.loads(service.requests[0][1])
    assert asked.items() >= options.items()


async def test_a_reference_of_fish_is_named() -> None:
    """Its default voice sends no reference; another one is sent by its id."""
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        voice = registry.create("tts", "fish-speech", base_url=service.base_url, voices=("alice",))
        await speak(voice)
        await voice.aclose()
    assert json.loads(service.requests[0][1])["reference_id"] == "alice"


async def test_cosyvoice_copies_the_voice_of_a_recording(tmp_path: Path) -> None:
    """A voice that is a file is sent with each sentence, with the words in it as far as they are known."""
    recording = tmp_path / "alice.wav"
    recording.write_bytes(wav_tone(0.1))
    async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
        for options in ({"prompt_text": "Hello, you."}, {}):
            voice = registry.create(
                "tts",
                "cosyvoice",
                base_url=service.base_url,
                model="CosyVoice2-0.5B",
                voices=(str(recording),),
                options=options,
            )
            chunks = await speak(voice)
            await voice.aclose()
            assert chunks[0].sample_rate == 24_000
    (known, content), (unknown, _content) = service.requests
    assert (known.path, unknown.path) == ("/inference_zero_shot", "/inference_cross_lingual")
    assert recording.read_bytes() in content
    assert b"Hello, you." in content


@pytest.mark.parametrize("size", [None, 11 * 2**20])
async def test_a_recording_that_cannot_be_sent_is_named(tmp_path: Path, size: int | None) -> None:
    """A file that is not there, or is far too large, is an error that says so; nobody is asked."""
    recording = tmp_path / "alice.wav"
    if size:
        recording.write_bytes(bytes(size))
    voice = registry.create("tts", "cosyvoice", base_url="http://127.0.0.1:9", voices=(str(recording),))
    with pytest.raises(SpeechError, match="recording") as caught:
        await speak(voice)
    assert caught.value.cause == "recording"
    await voice.aclose()


async def test_sound_in_two_channels_is_refused() -> None:
    """A WAV file that is not mono would play at half the speed: it is an error that names the format."""
    stereo = bytearray(wav_tone(0.5))
    stereo[22] = 2
    async with FakeVoiceService(lambda _request, _content: bytes(stereo)).serving() as service:
        voice = registry.create("tts", "fish-speech", base_url=service.base_url)
        with pytest.raises(SpeechError, match="mono"):
            await speak(voice)
        await voice.aclose()


async def test_text_is_no_markup_for_azure() -> None:
    """Signs that mean something in SSML are said, not obeyed; options become attributes of its prosody."""
    text = 'Tom & <voice name="x">Jerry</voice>'
    async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
        voice = registry.create("tts", "azure", base_url=service.base_url, api_key="k", options={"rate": '1" x="2'})
        await speak(voice, text)
        await voice.aclose()
    prosody = ElementTree.fromstring(service.requests[0][1])[0][0]
    assert (prosody.attrib, prosody.text, len(prosody)) == ({"rate": '1" x="2'}, text, 0)


async def test_xtts_is_told_the_language_in_its_own_words() -> None:
    """Chinese is `zh-cn` there; other languages have the code that they have here."""
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        voice = registry.create("tts", "xtts", base_url=service.base_url)
        voice.load()
        for text in ("你好，很高兴见到你。", "Guten Tag, wie geht es Ihnen heute?"):
            await speak(voice, text)
        await voice.aclose()
    assert [request.query["language"] for request, _content in service.requests] == ["zh-cn", "de"]


@pytest.mark.parametrize(
    ("name", "arguments", "lacking"),
    [
        ("azure", {"api_key": "k"}, "address"),
        ("azure", {"base_url": "http://x"}, "key"),
        ("elevenlabs", {}, "key"),
        ("tencent", {"api_key": "AKID"}, "SecretId:SecretKey"),
    ],
)
def test_what_an_online_voice_lacks_is_named(name: str, arguments: dict[str, str], lacking: str) -> None:
    """Without an address or a key it is not offered, and the page shows the remedy."""
    with pytest.raises(BackendUnavailable, match=lacking) as caught:
        registry.create("tts", name, **arguments)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        (
            "qwen-tts",
            'id:1\nevent:error\n:HTTP_STATUS/429\ndata:{"code":"Throttling.RateQuota","message":"slow"}',
            "busy",
        ),
        ("qwen-tts", '{"code":"InvalidApiKey","message":"Invalid API-key provided."}', "key"),
        ("qwen-tts", 'data:{"code":"Arrearage","message":"Access denied."}\n\n', "credit"),
        ("qwen-tts", 'data:{"code":"InvalidParameter","message":"no such voice"}\n\n', "refused"),
        ("doubao", '{"code":45000292,"message":"quota exceeded for types: concurrency"}\n', "busy"),
        ("doubao", '{"code":55000000,"message":"server error"}\n', "busy"),
        ("doubao", '{"code":45000000,"message":"speaker permission denied"}\n', "refused"),
        ("tencent", '{"Response":{"Error":{"Code":"LimitExceeded.AccessLimit","Message":"slow"}}}', "busy"),
        ("tencent", '{"Response":{"Error":{"Code":"AuthFailure.SignatureFailure","Message":"no"}}}', "key"),
        ("tencent", '{"Response":{"Error":{"Code":"UnsupportedOperation.PkgExhausted","Message":"no"}}}', "credit"),
        ("tencent", '{"Response":{"Error":{"Code":"InvalidParameterValue.VoiceType","Message":"no"}}}', "refused"),
    ],
)
async def test_an_error_in_a_good_answer_is_one(name: str, answer: str, told: str) -> None:
    """Services that answer 200 and write an error into it are understood as if they had refused by its status."""
    async with FakeVoiceService(lambda _request, _content: answer.encode()).serving() as service:
        voice = registry.create("tts", name, base_url=service.base_url, api_key="AKID:secret", clock=EagerClock())
        with pytest.raises(SpeechError) as caught:
            await speak(voice)
        await voice.aclose()
    assert caught.value.cause == told
    assert len(service.requests) == (2 if told == "busy" else 1)


@pytest.mark.parametrize("name", ["qwen-tts", "doubao", "tencent"])
@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b"null\n", b'data:"x"\n', b'{"code":0,"data":"?"}', b"{" * 9999])
async def test_json_of_another_form_is_not_played(name: str, answer: bytes) -> None:
    """What is no answer of the service, or holds no base64, is an error that says so."""
    async with FakeVoiceService(lambda _request, _content: answer).serving() as service:
        voice = registry.create("tts", name, base_url=service.base_url, api_key="AKID:secret", clock=EagerClock())
        with pytest.raises(SpeechError) as caught:
            await speak(voice)
        await voice.aclose()
    assert caught.value.cause == "not_sound"


async def test_a_line_without_an_end_is_given_up() -> None:
    """A service that never ends its line is not waited for until memory is full."""
    async with FakeVoiceService(lambda _request, _content: b"{" * (9 * 2**20), piece_bytes=2**20).serving() as service:
        voice = registry.create("tts", "doubao", base_url=service.base_url, api_key="k")
        with pytest.raises(SpeechError) as caught:
            await speak(voice)
        await voice.aclose()
    assert caught.value.cause == "not_sound"


async def test_doubao_takes_the_keys_of_its_old_console() -> None:
    """An id of the app and a token, with a colon between, go into the headers that they had there."""
    async with FakeVoiceService(_doubao_answer).serving() as service:
        options = {"audio_params": {"loudness_rate": 20}}
        voice = registry.create("tts", "doubao", base_url=service.base_url, api_key="123:token", options=options)
        await speak(voice)
        await voice.aclose()
    ((request, content),) = service.requests
    assert (request.headers["X-Api-App-Id"], request.headers["X-Api-Access-Key"]) == ("123", "token")
    assert "X-Api-Key" not in request.headers
    assert json.loads(content)["req_params"]["audio_params"] == {
        "format": "pcm",
        "sample_rate": 24_000,
        "loudness_rate": 20,
    }


def test_requests_to_tencent_are_signed_as_its_documentation_shows() -> None:
    """The example of https://cloud.tencent.com/document/api/213/30654, with its keys and the signature it prints."""
    payload = '{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'
    scope = "2019-02-25/cvm/tc3_request"
    signed = signature("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", "cvm.tencentcloudapi.com", scope, 1551113065, payload)
    assert signed == "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("elevenlabs", {}, "นี่คือประโยคภาษาไทย"),
        ("elevenlabs", {"model": "eleven_flash_v2"}, "你好，很高兴见到你。"),
        ("azure", {"voices": ("de-DE-KatjaNeural",)}, "你好，很高兴见到你。"),
        ("fish-audio", {"model": "s1"}, "นี่คือประโยคภาษาไทย"),
        ("qwen-tts", {}, "นี่คือประโยคภาษาไทย"),
        ("tencent", {}, "こんにちは、元気ですか。"),
        ("cosyvoice", {}, "Добрый день, как дела?"),
    ],
)
async def test_what_a_service_does_not_speak_is_not_sent(name: str, arguments: dict[str, object], text: str) -> None:
    """A language that the documentation does not name is reported, before anything goes out: it would be mumbled."""
    voice = registry.create("tts", name, base_url="http://127.0.0.1:9", api_key="AKID:secret", **arguments)
    voice.load()
    with pytest.raises(LanguageNotSupported):
        await speak(voice, text)
    await voice.aclose()


@pytest.mark.parametrize(
    ("name", "arguments", "spoken"),
    [
        ("elevenlabs", {}, {"vi", "hu", "zh", "uk"}),
        ("elevenlabs", {"model": "eleven_v3"}, {"th", "hy", "gu"}),
        ("elevenlabs", {"model": "of-tomorrow"}, {"am", "lo"}),
        ("azure", {"voices": ("de-DE-KatjaNeural", "ja-JP-NanamiNeural")}, {"de", "ja", "en"}),
        ("azure", {}, {"th", "uk", "vi"}),
        ("fish-audio", {}, {"th", "my", "zh"}),
    ],
)
def test_languages_are_those_of_the_model_and_the_voices(
    name: str, arguments: dict[str, object], spoken: set[str]
) -> None:
    """What is declared follows the model, or the voices, that the operator chose."""
    voice = registry.create("tts", name, base_url="http://x", api_key="k", **arguments)
    assert voice.languages >= spoken


@pytest.mark.parametrize(
    ("name", "options", "speed", "asked"),
    [
        ("openai-speech", {}, 1.5, {"speed": 1.5}),
        ("gpt-sovits", {"prompt_lang": "en"}, 0.8, {"speed_factor": 0.8, "prompt_lang": "en"}),
        ("fish-audio", {"prosody": {"volume": 2}}, 2.0, {"prosody": {"volume": 2, "speed": 2.0}}),
        (
            "elevenlabs",
            {"voice_settings": {"stability": 0.4}},
            1.2,
            {"voice_settings": {"stability": 0.4, "speed": 1.2}},
        ),
        ("tencent", {}, 1.1, {"Speed": 0.5}),
        ("tencent", {}, 0.6, {"Speed": -2.0}),
        ("tencent", {}, 2.0, {"Speed": 4.0}),
    ],
)
async def test_a_speed_is_asked_for_by_the_service_s_own_name(
    name: str, options: dict[str, object], speed: float, asked: dict[str, object]
) -> None:
    """It is one more field of the request, beside those that the operator adds."""
    wire = WIRES[name]
    async with FakeVoiceService(wire.body, headers=wire.headers).serving() as service:
        voice = registry.create("tts", name, base_url=service.base_url, api_key="AKID:secret", options=options)
        assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
        await voice.aclose()
    assert json.loads(service.requests[0][1]).items() >= asked.items()


async def test_doubao_and_azure_count_speed_in_percent() -> None:
    """Half as fast is -50, twice as fast +100."""
    for speed, percent in ((0.5, -50), (2.0, 100)):
        async with FakeVoiceService(_doubao_answer).serving() as service:
            voice = registry.create("tts", "doubao", base_url=service.base_url, api_key="k")
            assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
            await voice.aclose()
        assert json.loads(service.requests[0][1])["req_params"]["audio_params"]["speech_rate"] == percent
        async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
            voice = registry.create("tts", "azure", base_url=service.base_url, api_key="k")
            assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
            await voice.aclose()
        assert ElementTree.fromstring(service.requests[0][1])[0][0].attrib == {"rate": f"{percent:+d}%"}
