"""Voices that copy a voice: the request to each service, so that it speaks like an avatar's voice sample."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest
from aiohttp import web
from fake_voice_service import EagerClock, FakeVoiceService, pcm_tone, wav_tone

from avatars.voice_sample import delete_voice_sample, keep_voice_sample
from pipeline import registry
from pipeline.errors import SpeechError
from pipeline.tts.copied_voice import CopiedVoice, CopyingVoice
from pipeline.types import AudioChunk

TEXT = "Hello there, Bob."
WORDS = "What Alice says in her recording."
COPYING = ("gpt-sovits", "cosyvoice", "fish-speech", "xtts", "index-tts")


def keep(avatar: Path, words: str = WORDS, seconds: float = 5.0) -> bytes:
    sound = wav_tone(0.5)
    keep_voice_sample(avatar, sound, seconds, words, {"consent": True})
    return sound


def voice_of(name: str, service: FakeVoiceService, options: Mapping[str, object] | None = None) -> CopyingVoice:
    voice = registry.create("tts", name, base_url=service.base_url, options=options or {}, clock=EagerClock())
    assert isinstance(voice, CopyingVoice)
    voice.load()
    return voice


def parts_of(request: web.Request, content: bytes) -> dict[str, bytes]:
    """Return the fields of a multipart form, as a server reads it."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = message_from_bytes(head + content, policy=HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)  # type: ignore[misc]
        for part in form.iter_parts()
    }


async def said(tts: CopiedVoice, voice: str | None = None, speed: float = 1.0) -> list[AudioChunk]:
    return [chunk async for chunk in tts.synthesize(TEXT, voice, speed)]


async def test_cosyvoice_is_sent_the_sample(tmp_path: Path) -> None:
    """The sample is a part of the form.

    Without a transcript, the cross-lingual mode is used, whatever the options say.
    """
    sound = keep(tmp_path)
    async with FakeVoiceService(lambda _request, _content: pcm_tone(0.5)).serving() as service:
        voice = voice_of("cosyvoice", service, {"prompt_text": "the operator's"})
        await said(CopiedVoice(voice, tmp_path))
        keep(tmp_path, words="")
        await said(CopiedVoice(voice, tmp_path))
        await voice.aclose()
    known, unknown = service.requests
    assert known[0].path == "/inference_zero_shot"
    assert parts_of(*known) == {"tts_text": TEXT.encode(), "prompt_text": WORDS.encode(), "prompt_wav": sound}
    assert unknown[0].path == "/inference_cross_lingual"
    assert parts_of(*unknown) == {"tts_text": TEXT.encode(), "prompt_wav": sound}


async def test_fish_speech_is_sent_the_sample(tmp_path: Path) -> None:
    """The sample is sent in base64, as its schema requires, and the service is asked to cache it."""
    sound = keep(tmp_path)
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5, 44_100)).serving() as service:
        voice = voice_of("fish-speech", service, {"temperature": 0.5, "reference_id": "another"})
        await said(CopiedVoice(voice, tmp_path))
        await voice.aclose()
    ((request, content),) = service.requests
    asked = json.loads(content)
    (reference,) = asked.pop("references")
    assert (request.path, base64.b64decode(reference["audio"]), reference["text"]) == ("/v1/tts", sound, WORDS)
    assert asked == {
        "text": TEXT,
        "format": "wav",
        "streaming": True,
        "use_memory_cache": "on",
        "temperature": 0.5,
    }


async def test_gpt_sovits_is_told_where_the_sample_is(tmp_path: Path) -> None:
    """The service opens the file itself, and gets the transcript and its language."""
    sound = keep(tmp_path, words="你好，我是小明。")
    async with FakeVoiceService(
        lambda _request, content: wav_tone(0.5) if _heard(json.loads(content)["ref_audio_path"]) == sound else b""
    ).serving() as service:
        voice = voice_of("gpt-sovits", service, {"prompt_text": "the operator's", "top_k": 5})
        assert len(await said(CopiedVoice(voice, tmp_path), speed=1.5)) > 1
        await voice.aclose()
    asked = json.loads(service.requests[0][1])
    assert asked.pop("ref_audio_path").startswith(str(tmp_path))
    assert asked == {
        "text": TEXT,
        "text_lang": "en",
        "prompt_lang": "zh",
        "prompt_text": "你好，我是小明。",
        "media_type": "wav",
        "streaming_mode": True,
        "speed_factor": 1.5,
        "top_k": 5,
    }


async def test_xtts_and_index_tts_are_told_where_the_sample_is(tmp_path: Path) -> None:
    """The path is sent in the fields for the services' own recordings."""
    sound = keep(tmp_path)
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        for name in ("xtts", "index-tts"):
            voice = voice_of(name, service)
            await said(CopiedVoice(voice, tmp_path))
            await voice.aclose()
    (xtts, _body), (_request, index) = service.requests
    assert _heard(xtts.query["speaker_wav"]) == _heard(json.loads(index)["spk_audio_path"]) == sound


def _heard(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("name", COPYING)
async def test_a_named_voice_goes_before_the_sample_and_a_deleted_sample_is_not_heard(
    name: str, tmp_path: Path
) -> None:
    """A voice sample that was deleted is not used any more, even in the middle of a session."""
    keep(tmp_path)
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        voice = voice_of(name, service)
        copied = CopiedVoice(voice, tmp_path)
        assert copied.voices == voice.voices
        await said(copied)
        await said(copied, voice.voices[0])
        delete_voice_sample(tmp_path)
        await said(copied)
        await voice.aclose()
    (like, content), (named, its), (after, last) = service.requests
    assert (named.path_qs, its) == (after.path_qs, last)
    assert (like.path_qs, content) != (named.path_qs, its)


@pytest.mark.parametrize("name", ["gpt-sovits", "xtts", "index-tts"])
async def test_a_service_on_another_machine_cannot_open_the_sample(name: str, tmp_path: Path) -> None:
    """The error says so, with the remedy, before anything is sent."""
    keep(tmp_path)
    voice = registry.create("tts", name, base_url="http://voices.example:9880")
    voice.load()
    with pytest.raises(SpeechError) as caught:
        await said(CopiedVoice(voice, tmp_path))
    await voice.aclose()
    assert caught.value.cause == "sample_elsewhere"


async def test_a_service_that_sees_the_folder_elsewhere_is_told_its_own_path(tmp_path: Path) -> None:
    """It may be in a container or share the folder, so with its own path it may run on any machine."""
    avatar = tmp_path / "ada"
    avatar.mkdir()
    keep(avatar)
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        voice = registry.create("tts", "index-tts", base_url=service.base_url, avatars_folder="/mnt/avatars/")
        await said(CopiedVoice(voice, avatar))
        await voice.aclose()
    folder, _slash, name = json.loads(service.requests[0][1])["spk_audio_path"].rpartition("/")
    assert (folder, (avatar / name).is_file()) == ("/mnt/avatars/ada", True)


async def test_a_sample_that_a_service_finds_too_long_is_an_error_that_says_so(tmp_path: Path) -> None:
    """GPT-SoVITS accepts ten seconds at most; other services accept this sample."""
    keep(tmp_path, seconds=12.0)
    async with FakeVoiceService(lambda _request, _content: wav_tone(0.5)).serving() as service:
        for name in ("gpt-sovits", "fish-speech"):
            voice = voice_of(name, service)
            if name == "fish-speech":
                await said(CopiedVoice(voice, tmp_path))
            else:
                with pytest.raises(SpeechError) as caught:
                    await said(CopiedVoice(voice, tmp_path))
                assert caught.value.cause == "sample_too_long"
            await voice.aclose()
    assert len(service.requests) == 1


def test_only_services_of_the_operator_copy_voices() -> None:
    """A recording of somebody's voice is not sent to a service on the internet."""
    names = [row.name for row in registry.rows("tts")]
    assert tuple(name for name in names if issubclass(registry.backend_class("tts", name), CopyingVoice)) == COPYING
