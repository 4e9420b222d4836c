"""The voice sample in an avatar's folder: kept whole, replaced, put right, deleted, and never read from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avatars.errors import BadMedia, VoiceSampleNotFound
from avatars.voice_sample import (
    change_transcript,
    check_length,
    delete_voice_sample,
    keep_voice_sample,
    read_voice_sample,
)

CONSENT = {"file": "me.wav", "consent": True, "job": "j"}


def test_a_sample_is_kept_replaced_and_deleted(tmp_path: Path) -> None:
    """With its words and the consent; of the one before nothing is left."""
    assert read_voice_sample(tmp_path) is None
    keep_voice_sample(tmp_path, b"RIFF one", 5.0, "Hello.", CONSENT)
    first = read_voice_sample(tmp_path)
    assert first is not None and first.sound.read_bytes() == b"RIFF one"
    assert (first.seconds, first.transcript, first.source) == (5.0, "Hello.", CONSENT)
    keep_voice_sample(tmp_path, b"RIFF two", 6.0, "", CONSENT)
    second = change_transcript(tmp_path, "你好。")
    assert read_voice_sample(tmp_path) == second
    assert (second.sound.read_bytes(), second.transcript, first.sound.exists()) == (b"RIFF two", "你好。", False)
    delete_voice_sample(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for gone in (lambda: delete_voice_sample(tmp_path), lambda: change_transcript(tmp_path, "x")):
        with pytest.raises(VoiceSampleNotFound):
            gone()


@pytest.mark.parametrize(
    "told", ["", "[]", "{", '{"sound": "../secret.wav", "seconds": 5}', '{"sound": "voice-sample.00000000.wav"}']
)
def test_a_file_that_is_damaged_or_leads_elsewhere_counts_as_none(tmp_path: Path, told: str) -> None:
    """A copied avatar cannot have another file of this machine sent to a service. It can still be deleted."""
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    avatar = tmp_path / "ada"
    avatar.mkdir()
    (avatar / "voice-sample.json").write_text(told, encoding="utf-8")
    assert read_voice_sample(avatar) is None
    delete_voice_sample(avatar)
    assert (tmp_path / "secret.wav").exists()


def test_a_full_disk_leaves_the_sample_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the new one stays behind."""
    before = keep_voice_sample(tmp_path, b"RIFF one", 5.0, "", CONSENT)

    def full(*_arguments: object, **_named: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Exception, match="full"):
        keep_voice_sample(tmp_path, b"RIFF two", 6.0, "", CONSENT)
    assert read_voice_sample(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_number_that_is_none_counts_as_none(tmp_path: Path) -> None:
    """Whatever somebody wrote by hand."""
    keep_voice_sample(tmp_path, b"RIFF", 5.0, "", CONSENT)
    path = tmp_path / "voice-sample.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": "long"}))
    assert read_voice_sample(tmp_path) is None


@pytest.mark.parametrize(("seconds", "cause"), [(2.9, "voice_too_short"), (30.1, "voice_too_long")])
def test_samples_have_a_length(seconds: float, cause: str) -> None:
    """Half a word is no voice, and services refuse long ones."""
    with pytest.raises(BadMedia) as caught:
        check_length(seconds)
    assert caught.value.cause == cause
    check_length(3.0)
    check_length(30.0)
