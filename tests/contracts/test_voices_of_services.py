"""What particular services require of a request, and how they report a refusal."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_voice_service import EagerClock, FakeVoiceService, pcm_tone, wav_tone

from pipeline import registry
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.tts.tencent import signature
from tests.voice_wires import TEXT, WIRES, doubao_answer, speak


async def test_options_go_into_the_request() -> None:
    """The operator's options are sent under the service's own names, and override the voice's values."""
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
    """A voice that is a file is sent with each sentence, with its transcript if that is known."""
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
    """If the file is missing or far too large, the error says so, and no request is sent."""
    recording = tmp_path / "alice.wav"
    if size:
        recording.write_bytes(bytes(size))
    voice = registry.create("tts", "cosyvoice", base_url="http://127.0.0.1:9", voices=(str(recording),))
    with pytest.raises(SpeechError, match="recording") as caught:
        await speak(voice)
    assert caught.value.cause == "recording"
    await voice.aclose()


async def test_sound_in_two_channels_is_refused() -> None:
    """A WAV file that is not mono would play at half speed, so the error names the format."""
    stereo = bytearray(wav_tone(0.5))
    stereo[22] = 2
    async with FakeVoiceService(lambda _request, _content: bytes(stereo)).serving() as service:
        voice = registry.create("tts", "fish-speech", base_url=service.base_url)
        with pytest.raises(SpeechError, match="mono"):
            await speak(voice)
        await voice.aclose()


async def test_text_is_no_markup_for_azure() -> None:
    """Characters that mean something in SSML are spoken, not interpreted; options become attributes of its prosody."""
    text = 'Tom & <voice name="x">Jerry</voice>'
    async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
        voice = registry.create("tts", "azure", base_url=service.base_url, api_key="k", options={"rate": '1" x="2'})
        await speak(voice, text)
        await voice.aclose()
    prosody = ElementTree.fromstring(service.requests[0][1])[0][0]
    assert (prosody.attrib, prosody.text, len(prosody)) == ({"rate": '1" x="2'}, text, 0)


async def test_xtts_is_told_the_language_in_its_own_words() -> None:
    """Chinese is `zh-cn` there; other languages have the same codes as here."""
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
    """Without an address or a key, the voice is not offered, and the page shows the remedy."""
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
    """Services that answer 200 and put an error into the body are handled as if their status were an error."""
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
    """An answer that is not in the service's form, or holds no base64, is an error that says so."""
    async with FakeVoiceService(lambda _request, _content: answer).serving() as service:
        voice = registry.create("tts", name, base_url=service.base_url, api_key="AKID:secret", clock=EagerClock())
        with pytest.raises(SpeechError) as caught:
            await speak(voice)
        await voice.aclose()
    assert caught.value.cause == "not_sound"


async def test_a_line_without_an_end_is_given_up() -> None:
    """If a service never ends its line, reading stops long before memory is full."""
    async with FakeVoiceService(lambda _request, _content: b"{" * (9 * 2**20), piece_bytes=2**20).serving() as service:
        voice = registry.create("tts", "doubao", base_url=service.base_url, api_key="k")
        with pytest.raises(SpeechError) as caught:
            await speak(voice)
        await voice.aclose()
    assert caught.value.cause == "not_sound"


async def test_doubao_takes_the_keys_of_its_old_console() -> None:
    """An app id and a token, joined by a colon, are sent in the headers that the old console used."""
    async with FakeVoiceService(doubao_answer).serving() as service:
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
    """The example of https://cloud.tencent.com/document/api/213/30654, with its keys and its printed signature."""
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
    """A language that the service's documentation does not list is refused before any request: it would be mumbled."""
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
    """The declared languages follow the model or the voices that the operator chose."""
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
    """The speed is a further field of the request, beside the operator's options."""
    wire = WIRES[name]
    async with FakeVoiceService(wire.body, headers=wire.headers).serving() as service:
        voice = registry.create("tts", name, base_url=service.base_url, api_key="AKID:secret", options=options)
        assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
        await voice.aclose()
    assert json.loads(service.requests[0][1]).items() >= asked.items()


async def test_doubao_and_azure_count_speed_in_percent() -> None:
    """Half as fast is -50, twice as fast is +100."""
    for speed, percent in ((0.5, -50), (2.0, 100)):
        async with FakeVoiceService(doubao_answer).serving() as service:
            voice = registry.create("tts", "doubao", base_url=service.base_url, api_key="k")
            assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
            await voice.aclose()
        assert json.loads(service.requests[0][1])["req_params"]["audio_params"]["speech_rate"] == percent
        async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
            voice = registry.create("tts", "azure", base_url=service.base_url, api_key="k")
            assert [chunk async for chunk in voice.synthesize(TEXT, None, speed)][-1].final
            await voice.aclose()
        assert ElementTree.fromstring(service.requests[0][1])[0][0].attrib == {"rate": f"{percent:+d}%"}
