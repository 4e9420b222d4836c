"""Avatars of every version stay readable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from avatars.bundle_versions import BUNDLE_FORMAT, BUNDLE_VERSION, Migration, manifest_of_today, tensors_of_today
from avatars.errors import BundleError
from avatars.library import AvatarLibrary

KEPT = Path(__file__).parents[1] / "assets" / "bundles"
"""One small avatar of each version, as that version wrote it."""


def of_version(version: int) -> dict[str, object]:
    return {"format": BUNDLE_FORMAT, "version": version, "name": "Ada"}


@pytest.mark.parametrize("version", range(1, BUNDLE_VERSION + 1))
def test_an_avatar_of_each_version_opens(version: int, tmp_path: Path) -> None:
    """It is listed and renamed, and its frames, landmarks and loop are there."""
    shutil.copytree(KEPT / f"v{version}", tmp_path / "kept")
    library = AvatarLibrary(tmp_path)
    bundle = library.open("kept")
    assert (bundle.name, bundle.kind, bundle.width, bundle.height, bundle.fps) == ("Kept", "clip", 48, 64, 25)
    assert bundle.frame_count == 2 and bundle.loop.tolist() == [0, 1] and bundle.landmarks.shape == (2, 478, 3)
    assert bundle.boxes.tolist() == [[12, 32, 36, 56]] * 2 and bundle.mask(1).shape == (24, 24)
    assert bundle.frame(1).shape == (64, 48, 3) and dict(bundle.manifest["report"]) == {"frames": 2}
    library.rename("kept", "Other")
    (summary,) = library.list()
    assert (summary.name, summary.frames) == ("Other", 2) and library.open("kept").name == "Other"
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())["version"] == version


def test_older_versions_go_through_each_migration_in_turn() -> None:
    """From 1 to 3 by way of 2; one of version 2 is spared the first step, and one of version 3 both."""
    migrations = (
        Migration(lambda manifest: {**manifest, "name": f"{manifest['name']} 2"}),
        Migration(
            lambda manifest: {**manifest, "name": f"{manifest['name']} 3"},
            lambda tensors: {"loops": tensors["loop"][None]},
        ),
    )
    names = [manifest_of_today(of_version(version), "ada", migrations)["name"] for version in (1, 2, 3)]
    assert names == ["Ada 2 3", "Ada 3", "Ada"]
    loop = {"loop": np.arange(3)}
    assert tensors_of_today(1, loop, migrations)["loops"].tolist() == [[0, 1, 2]]
    assert tensors_of_today(3, loop, migrations).keys() == {"loop"}


@pytest.mark.parametrize(
    ("manifest", "cause"),
    [
        (of_version(BUNDLE_VERSION + 1), "version"),
        ({**of_version(1), "format": "other"}, "format"),
        ({**of_version(1), "version": "1"}, "format"),
        (of_version(0), "format"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(manifest: dict[str, object], cause: str) -> None:
    """A later version and a foreign format are told apart, each with its remedy and no path."""
    with pytest.raises(BundleError, match="'ada'") as refused:
        manifest_of_today(manifest, "ada")
    assert refused.value.cause == cause and refused.value.hint


def test_files_that_cannot_be_read_are_told_without_their_path(tmp_path: Path) -> None:
    """The viewer learns the avatar's id; path and cause are for the log."""
    shutil.copytree(KEPT / "v1", tmp_path / "kept")
    (tmp_path / "kept" / "tensors.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BundleError, match="'kept'") as refused:
        AvatarBundle.open(tmp_path / "kept")
    assert str(tmp_path) not in str(refused.value)
