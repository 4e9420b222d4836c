"""Voice samples over HTTP: asked for, made by the worker's steps, put right, deleted, and nobody else's to change."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from avatars.library import AvatarLibrary
from avatars.persona import Persona, write_persona
from avatars.voice_sample import SAMPLE_RATE_HZ, read_voice_sample
from pipeline.audio import SPEECH_DBFS, speech_dbfs
from pipeline.turn_context import TurnContext
from portal.api.avatars import avatars_router
from portal.api.jobs import jobs_router
from portal.api.voice_samples import voice_samples_router
from portal.errors import UnsupportedMedia
from portal.http.bodies import Bodies
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import VOICE_SAMPLE
from portal.jobs.shares import JobShares
from portal.making import rendering, voice_samples
from portal.settings import Settings
from portal.worker.job_work import JobWork
from portal.worker.recipes import recipes
from tests.portraits import portrait_bundle
from tests.recordings import spoken, write_recording

WORDS = "Good morning, my name is Ada."


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library)
    yield queue
    queue.close()


@pytest.fixture
def client(tmp_path: Path, library: AvatarLibrary, queue: JobQueue) -> Iterator[TestClient]:
    with client_of(Settings(data_dir=tmp_path), library, queue) as client:
        portrait_bundle(library.root / "ada", size=192)
        yield client


def client_of(settings: Settings, library: AvatarLibrary, queue: JobQueue) -> TestClient:
    app, shares = FastAPI(), JobShares(queue.active_askers, 50)
    for router in (avatars_router, voice_samples_router):
        app.include_router(router(library, queue, settings, Uploads(settings.data_dir), shares))
    app.include_router(jobs_router(queue, shares, library))
    return TestClient(Bodies(app))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of somebody, as a telephone records them: M4A, soft."""
    path = tmp_path_factory.mktemp("voice") / "me.m4a"
    return write_recording(path, 0.1 * spoken(5.0)[None], "mp4", "aac")


def ask(client: TestClient, recording: Path, avatar: str = "ada", **fields: str) -> Any:
    wish = {"consent": "true", "transcript": WORDS, **fields}
    files = {"file": ("me.m4a", recording.read_bytes())}
    return client.post(f"/api/avatars/{avatar}/voice-sample", files=files, data=wish)


def made(job: dict[str, Any], queue: JobQueue, library: AvatarLibrary, settings: Settings, words: str = WORDS) -> Any:
    """What the steps of the job give."""
    recipe = next(one for one in recipes() if one.kind == VOICE_SAMPLE)
    inputs: Any = {"avatar": "ada", "transcript": words, "file_name": "me.m4a", "consent": True}
    work = JobWork(job["id"], inputs, settings, queue.folders, library, lambda _part: None)
    return [step.run(work) for step in recipe.steps][-1]


def test_a_sample_is_asked_for_made_put_right_and_deleted(
    client: TestClient, recording: Path, queue: JobQueue, library: AvatarLibrary, tmp_path: Path
) -> None:
    """202 with a job. It is kept as a WAV at the level of all voices, with its words and the consent."""
    response = ask(client, recording, transcript=f" {WORDS}\n")
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["kind"], job["avatar"], job["name"]) == (VOICE_SAMPLE, "ada", "woman")
    assert queue.get(job["id"]).uploaded
    assert made(job, queue, library, Settings(data_dir=tmp_path)) == {"avatar": "ada", "transcript": WORDS}
    sample = read_voice_sample(library.path_of("ada"))
    assert sample is not None
    assert sample.source == {"file": "me.m4a", "consent": True, "job": job["id"]}
    with wave.open(io.BytesIO(sample.sound.read_bytes())) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, SAMPLE_RATE_HZ)
        sound = (np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 32768).astype(np.float32)
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(5.0, abs=0.1)
    assert speech_dbfs(sound, SAMPLE_RATE_HZ) == pytest.approx(SPEECH_DBFS, abs=2.0)
    assert client.get("/api/avatars/ada").json()["voice_sample"] == pytest.approx(5.0, abs=0.1)
    place = "/api/avatars/ada/voice-sample"
    assert client.get(place).json()["transcript"] == WORDS
    assert client.patch(place, json={"transcript": "Good  evening."}).json()["transcript"] == "Good evening."
    assert client.delete(place).status_code == 204
    assert client.get(place).json() is None
    assert client.delete(place).json()["error"]["code"] == "voice_sample_not_found"
    assert client.get("/api/avatars/ada").json()["voice_sample"] is None


def test_words_that_nobody_typed_are_recognised_where_something_can(
    client: TestClient,
    recording: Path,
    queue: JobQueue,
    library: AvatarLibrary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A typed transcript is believed. Where nothing recognises speech the sample is kept without."""
    heard: list[int] = []

    async def recognised(_settings: Settings, samples: np.ndarray) -> str:
        heard.append(len(samples))
        return "heard"

    settings = Settings(data_dir=tmp_path, asr="openai-transcription")
    assert made(ask(client, recording, transcript="").json(), queue, library, settings, "")["transcript"] == ""
    monkeypatch.setattr(voice_samples, "_recognised", recognised)
    assert made(ask(client, recording).json(), queue, library, settings)["transcript"] == WORDS
    assert made(ask(client, recording, transcript="").json(), queue, library, settings, "")["transcript"] == "heard"
    assert heard == [pytest.approx(5.0 * SAMPLE_RATE_HZ, rel=0.02)]


@pytest.mark.parametrize(
    ("seconds", "fields", "status", "cause"),
    [
        (5.0, {"consent": ""}, 400, "voice_consent"),
        (5.0, {"transcript": "a" * 1001}, 400, "transcript"),
        (2.0, {}, 422, "voice_too_short"),
        (31.0, {}, 422, "voice_too_long"),
    ],
)
def test_what_does_not_fit_is_refused(
    client: TestClient, tmp_path: Path, seconds: float, fields: dict[str, str], status: int, cause: str
) -> None:
    """With its cause; nothing is queued, and nothing stays of the upload."""
    path = write_recording(tmp_path / "me.wav", spoken(seconds)[None], "wav", "pcm_s16le")
    response = ask(client, path, **fields)
    assert (response.status_code, response.json()["error"]["cause"]) == (status, cause)
    assert client.get("/api/jobs").json() == []
    assert list((tmp_path / "uploads").iterdir()) == []


def test_what_is_no_sound_is_refused(client: TestClient, tmp_path: Path) -> None:
    """By its bytes, whatever it is called."""
    path = tmp_path / "voice.wav"
    path.write_bytes(b"#!/bin/sh\n" * 100)
    assert ask(client, path).json()["error"]["code"] == UnsupportedMedia.code


def test_where_the_portals_voice_takes_ten_seconds_longer_samples_are_refused(
    client: TestClient, queue: JobQueue, library: AvatarLibrary, tmp_path: Path
) -> None:
    """While somebody can still choose another recording, and not in the middle of a talk."""
    path = write_recording(tmp_path / "me.wav", spoken(12.0)[None], "wav", "pcm_s16le")
    assert ask(client, path).status_code == 202
    with client_of(Settings(data_dir=tmp_path, tts="gpt-sovits"), library, queue) as sovits:
        assert ask(sovits, path).json()["error"]["cause"] == "voice_too_long"


def test_avatars_that_are_not_there_have_no_samples(client: TestClient, recording: Path) -> None:
    """404 with a code, whatever is asked."""
    assert ask(client, recording, avatar="nobody").json()["error"]["code"] == "avatar_not_found"
    place = "/api/avatars/nobody/voice-sample"
    for response in (client.get(place), client.patch(place, json={"transcript": "x"}), client.delete(place)):
        assert response.json()["error"]["code"] == "avatar_not_found"


def test_whoever_names_a_voice_for_a_clip_hears_that_one(
    library: AvatarLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever voice the avatar has; without a name it speaks with its own."""
    bundle = portrait_bundle(library.root / "ada", size=192)
    write_persona(bundle.path, Persona(voice="beep"))
    spoken_by: list[str | None] = []

    async def render(context: TurnContext, *_rest: object, **_named: object) -> list[object]:
        spoken_by.append(context.voice)
        return []

    monkeypatch.setattr(rendering, "render", render)
    settings = Settings(data_dir=tmp_path, tts="beep", voice="the portal's")
    for voice in ("named", None):
        rendering.render_clip(
            settings, bundle, output=tmp_path / "clip.mp4", work=tmp_path / "work", text="Hello.", voice=voice
        )
    assert spoken_by == ["named", "beep"]
