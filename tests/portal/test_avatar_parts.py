"""What preparing for a network needs besides the avatar: a device that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.types import NoticeEvent

pytest.importorskip("torch", reason="a neural backend; pip install -e .[neural]")

from avatars.bundle import AvatarBundle
from pipeline.errors import BackendUnavailable
from portal.making.avatar_parts import prepare_for_backend
from portal.settings import Settings
from tests.portraits import portrait_bundle
from tests.tiny_musetalk import write_musetalk_weights


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an operator who has named a device that is not here."""
    write_musetalk_weights(tmp_path / "weights")
    portrait_bundle(tmp_path / "avatars" / "ada", size=128)
    return Settings(data_dir=tmp_path, weights_dir=tmp_path / "weights", device=("cuda:99",))


def prepare(settings: Settings, backend: str, work: Path) -> list[NoticeEvent]:
    bundle = AvatarBundle.open(settings.data_dir / "avatars" / "ada")
    return prepare_for_backend(settings, bundle, backend, {}, work, lambda _share: None)


def test_a_device_that_is_absent_is_told_before_anything_is_prepared(settings: Settings, tmp_path: Path) -> None:
    """As by a session: with its name and the others, not as an internal error after the first faces."""
    with pytest.raises(BackendUnavailable, match="cuda:99") as caught:
        prepare(settings, "musetalk15", tmp_path / "work")
    assert "--device" in caught.value.hint
    assert not (tmp_path / "work").exists()


def test_faces_that_are_only_cut_out_need_no_device(settings: Settings, tmp_path: Path) -> None:
    """No network takes part in it."""
    assert prepare(settings, "wav2lip96", tmp_path / "work") == []
