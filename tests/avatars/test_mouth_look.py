"""What a drawn character's artist wants between its lips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avatars.bundle import AvatarBundle
from avatars.mouth_look import MouthLook, look_of
from tests.portraits import portrait_bundle

LOOK = MouthLook(enamel=(250, 240, 230), gum=(120, 40, 40), tongue=(230, 120, 100), cavity=(90, 30, 40))


def test_a_look_is_read_as_it_was_written() -> None:
    """Through JSON, with single teeth and without."""
    for look in (LOOK, MouthLook(LOOK.enamel, LOOK.gum, LOOK.tongue, LOOK.cavity, single_teeth=False)):
        assert look_of(json.loads(json.dumps({"mouth_look": look.to_json()}))) == look


@pytest.mark.parametrize(
    "known",
    [
        None,
        "pink",
        {},
        {**LOOK.to_json(), "gum": [1, 2]},
        {**LOOK.to_json(), "gum": "red"},
        {**LOOK.to_json(), "gum": [1, 2, "x"]},
    ],
)
def test_a_look_that_cannot_be_read_counts_as_none(known: object) -> None:
    """The mouth is then judged by the light, as that of a photo."""
    assert look_of({"mouth_look": known}) is None


def test_an_avatar_without_a_look_has_none(tmp_path: Path) -> None:
    """As all avatars of photos, and those that an older Vivavoce made."""
    bundle = portrait_bundle(tmp_path / "ada", size=128)
    assert "mouth_look" not in AvatarBundle.open(bundle.path).manifest
    assert look_of(bundle.manifest) is None
