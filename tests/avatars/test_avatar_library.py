"""The library of avatars on disk: listing, opening, deleting, naming, tidying up; and our own characters."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from avatars import library as library_module
from avatars.bundle import AvatarBundle
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.errors import AvatarNotFound, BundleError, NoRealMouths
from avatars.library import VALID_ID, AvatarLibrary, Preset, face_in, presets
from avatars.media import read_photo
from avatars.real_mouths import mouth_of

FOREIGN_IDS = [
    "",
    ".",
    "..",
    "../test",
    "test/../test",
    "/etc",
    "a/b",
    "a\\b",
    "Test",
    "a" * 65,
    "a\0b",
    ".test.x",
    "-a",
]


def test_avatars_are_listed_from_their_manifests(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """The list has what a gallery needs, the oldest first."""
    for age, name in ((100, "second"), (200, "first")):
        bundle = make_bundle(name)
        then = time.time() - age
        os.utime(bundle.path / "manifest.json", (then, then))
    first, second = library.list()
    assert (first.id, second.id) == ("first", "second")
    assert (first.name, first.kind, first.width, first.height, first.frames) == ("First", "clip", 96, 128, 5)
    assert first.poster is not None
    assert first.poster.is_file()
    assert first.preview is None


def test_damaged_avatars_are_left_out_of_the_list(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle], caplog: pytest.LogCaptureFixture
) -> None:
    """One bad directory hides no good avatar, and is named in the log."""
    make_bundle("good")
    bad = library.root / "bad"
    bad.mkdir()
    (bad / "manifest.json").write_text('{"version": 1')
    (library.root / "empty").mkdir()
    with caplog.at_level(logging.WARNING):
        assert [summary.id for summary in library.list()] == ["good"]
    assert "bad" in caplog.text


def test_an_avatar_is_opened_once_while_it_is_in_use(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Two sessions share one bundle; when nobody uses it any more it is let go."""
    make_bundle("test")
    bundle = library.open("test")
    assert library.open("test") is bundle
    del bundle
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is AvatarBundle and one.path.name == "test"]
    assert library.open("test").frame(0).shape == (128, 96, 3)


def test_an_avatar_that_cannot_be_read_is_not_taken_for_deleted(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Whoever waits for it, such as the session of a node that was lost, may try again."""
    manifest = make_bundle("ada").path / "manifest.json"
    manifest.unlink()
    manifest.symlink_to(manifest)  # an error that root gets as well
    with pytest.raises(BundleError, match="cannot be read") as told:
        library.open("ada")
    assert told.value.retryable
    manifest.unlink()
    with pytest.raises(AvatarNotFound):
        library.open("ada")


def test_an_avatar_made_again_is_opened_anew(library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]) -> None:
    """After it is prepared again under the same id, the new one is opened, and the old one still works."""
    make_bundle("test", frames=5)
    old = library.open("test")
    make_bundle("test", frames=7)
    assert library.open("test").frame_count == 7
    assert old.frame(4).shape == (128, 96, 3)


def test_deleting_lets_its_users_go_on(library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]) -> None:
    """A deleted avatar is gone for newcomers, but a session that talks with it goes on."""
    make_bundle("test")
    bundle = library.open("test")
    library.delete("test")
    assert "test" not in library
    assert library.list() == []
    assert bundle.frame(2).shape == (128, 96, 3)
    assert list(library.root.iterdir()) == []
    with pytest.raises(AvatarNotFound):
        library.open("test")
    with pytest.raises(AvatarNotFound):
        library.delete("test")


@pytest.mark.parametrize("avatar_id", FOREIGN_IDS)
def test_ids_from_outside_cannot_leave_the_library(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle], avatar_id: str
) -> None:
    """What is no id is not found, whatever is on the disk, and nothing is deleted."""
    make_bundle("test")
    for action in (library.open, library.delete, library.path_of):
        with pytest.raises(AvatarNotFound):
            action(avatar_id)
    assert avatar_id not in library
    assert [summary.id for summary in library.list()] == ["test"]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Eileen Collins", "eileen-collins-"),
        ("Zoë", "zoe-"),
        ("小明", "avatar-"),
        ("../../etc/passwd", "etc-passwd-"),
        ("", "avatar-"),
        ("🙂", "avatar-"),
        ("x" * 300, "x" * 40 + "-"),
        ("CON.mp4", "con-mp4-"),
    ],
)
def test_names_become_safe_ids(library: AvatarLibrary, name: str, start: str) -> None:
    """Any name gives an id that is valid, readable where it can be, and short."""
    avatar_id = library.new_id(name)
    assert avatar_id.startswith(start)
    assert VALID_ID.fullmatch(avatar_id)
    assert library.path_of(avatar_id).parent == library.root


def test_the_same_name_gives_another_id(library: AvatarLibrary) -> None:
    """Two avatars of one name do not collide."""
    assert len({library.new_id("Mira") for _ in range(20)}) == 20


def aged(path: Path) -> Path:
    path.mkdir()
    then = time.time() - 7200
    os.utime(path, (then, then))
    return path


def test_building_a_library_has_no_effect(tmp_path: Path) -> None:
    """A folder that is not there is an empty library, and stays away; nothing is swept before sweep() is called."""
    root = tmp_path / "nowhere"
    library = AvatarLibrary(root)
    library.sweep()
    assert library.list() == [] and "mira" not in library and not root.exists()
    root.mkdir()
    left = aged(root / ".mira.abc123")
    assert AvatarLibrary(root).list() == [] and left.exists()


def test_leftovers_of_killed_writers_are_swept(library: AvatarLibrary) -> None:
    """Old staging directories go; one that is being written just now, and foreign files, stay."""
    aged(library.root / ".mira.abc123")
    (library.root / ".deleted.theo.1234").mkdir()
    (library.root / ".mira.fresh").mkdir()
    (library.root / ".keep").write_text("")
    library.sweep()
    assert sorted(path.name for path in library.root.iterdir()) == [".keep", ".mira.fresh"]


def test_an_avatar_killed_while_it_was_replaced_comes_back(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """If the writer died between taking the old avatar away and putting the new one there, the old one returns."""
    bundle = make_bundle("test")
    retired = library.root / ".test.old.abc"
    retired.mkdir()
    bundle.path.rename(retired / "bundle")
    then = time.time() - 7200
    os.utime(retired, (then, then))
    library.sweep()
    assert library.open("test").frame_count == 5


def test_another_version_is_not_listed_and_says_so(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """A bundle of another version is left out, and opening it names the remedy."""
    path = make_bundle("test").path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    assert library.list() == []
    with pytest.raises(BundleError) as refused:
        library.open("test")
    assert refused.value.hint


def test_our_own_characters_are_whole() -> None:
    """Each has a square picture, a twin with closed eyes, an id, English and Chinese names, and a mouth of its own."""
    ours = presets()
    assert [preset.id for preset in ours[:2]] == ["mira", "theo"] and len(ours) >= 4
    for preset in ours:
        picture, closed = read_photo(preset.picture), read_photo(preset.closed_eyes)
        side = picture.shape[0]
        assert picture.shape == closed.shape == (side, side, 3) and side >= 640
        assert max(path.stat().st_size for path in (preset.picture, preset.closed_eyes)) <= 900_000
        assert VALID_ID.fullmatch(preset.id)
        assert set(preset.names) == {"en", "zh"}
    looks = [preset.mouth_look for preset in ours if preset.mouth_look]
    assert len(set(looks)) == len(looks) >= 3


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.id)
def test_our_own_characters_look_at_the_viewer_with_closed_lips(preset: Preset) -> None:
    """The detector of preparation finds one face, the robot's too: from the front, upright, its mouth at rest."""
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        faces = analyzer.analyse(read_photo(preset.picture))
    assert len(faces) == 1
    face = faces[0]
    assert max(abs(face.yaw_deg), abs(face.roll_deg)) < 5 and abs(face.pitch_deg) < 15
    across = float(np.linalg.norm(face.landmarks[263, :2] - face.landmarks[33, :2]))
    assert np.linalg.norm(face.landmarks[14, :2] - face.landmarks[13, :2]) < 0.03 * across


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.id)
def test_twins_differ_only_around_the_eyes(preset: Preset) -> None:
    """Fading to the twin closes the eyes and moves nothing else."""
    picture, closed = read_photo(preset.picture), read_photo(preset.closed_eyes)
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        (face,) = analyzer.analyse(picture)
    across = float(np.linalg.norm(face.landmarks[263, :2] - face.landmarks[33, :2]))
    middle = face.landmarks[[33, 263], :2].mean(axis=0)
    y, x = (abs(picture.astype(int) - closed).max(axis=2) > 24).nonzero()
    assert len(y) > 0.01 * across**2
    assert abs(y - middle[1]).max() < 0.5 * across and abs(x - middle[0]).max() < across


def test_an_avatar_is_renamed_in_its_place(library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Another name, the same id, place in the list and picture; whoever has it open goes on with what it was."""
    for age, name in ((100, "second"), (200, "first")):
        then = time.time() - age
        os.utime(make_bundle(name).path / "manifest.json", (then, then))
    opened = library.open("first")
    before = library.list()[0].modified_s
    library.rename("first", "小美")
    assert [(one.id, one.name) for one in library.list()] == [("first", "小美"), ("second", "Second")]
    assert library.list()[0].modified_s == before
    assert opened.name == "First" and library.open("first").name == "小美"
    assert not [path for path in opened.path.iterdir() if path.name.startswith(".")]


def test_only_what_is_there_is_renamed(library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]) -> None:
    """No such avatar, no id at all, and one that is damaged: each is told, and nothing is made."""
    for avatar_id in ("nobody", *FOREIGN_IDS):
        with pytest.raises(AvatarNotFound):
            library.rename(avatar_id, "Me")
    damaged = make_bundle("damaged").path / "manifest.json"
    damaged.write_text("[")
    with pytest.raises(BundleError):
        library.rename("damaged", "Me")
    assert damaged.read_text() == "["


def test_an_avatar_that_is_deleted_while_it_is_renamed_is_not_there(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes between the reading and the writing of its manifest."""
    bundle = make_bundle("ada")

    def gone_meanwhile(*_data: object, **_options: object) -> str:
        shutil.rmtree(bundle.path)
        return "{}"

    monkeypatch.setattr("avatars.library.json.dumps", gone_meanwhile)
    with pytest.raises(AvatarNotFound):
        library.rename("ada", "Me")


def with_mouths(bundle: AvatarBundle, why_not: str = "") -> None:
    """The avatar as if real mouths had been looked for in its clip."""
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "mouth": {"version": 1, "why_not": why_not}}), encoding="utf-8")


def test_real_mouths_can_be_set_aside_and_taken_again(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """The choice is kept with the avatar and seen by whoever opens it next; its place in the list stays."""
    with_mouths(make_bundle("ada"))
    opened, before = library.open("ada"), library.list()[0]
    assert before.mouth == ("personal", "")
    library.draw_mouth("ada", "painted")
    assert library.list()[0].mouth == ("painted", "chosen")
    assert mouth_of(library.open("ada").manifest) == ("painted", "chosen")
    assert mouth_of(opened.manifest) == ("personal", "")
    library.draw_mouth("ada", "personal")
    after = library.list()[0]
    assert after.mouth == ("personal", "") and after.modified_s == before.modified_s


def test_an_avatar_without_real_mouths_cannot_use_them(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """It goes on being painted for the reason that it had, and says what would help."""
    with_mouths(make_bundle("ada"), "few_open")
    library.draw_mouth("ada", "painted")
    with pytest.raises(NoRealMouths, match="Ada"):
        library.draw_mouth("ada", "personal")
    assert library.list()[0].mouth == ("painted", "few_open")


def test_a_face_is_told_in_parts_of_the_picture(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """From the landmarks of the first picture; nothing is told where they cannot be read."""
    bundle = make_bundle("ada")
    assert library.list()[0].face is None, "all of its landmarks are one point"
    points = np.tile(np.array([24, 32, 0], np.float32), (5, 478, 1))
    points[:, 0] = 72, 96, 0
    tensors = load_file(bundle.path / "tensors.safetensors")
    save_file({**tensors, "landmarks": points}, bundle.path / "tensors.safetensors")
    assert library.list()[0].face == pytest.approx((0.25, 0.25, 0.5, 0.5))
    (bundle.path / "tensors.safetensors").write_bytes(b"no tensors")
    assert library.list()[0].face is None


@pytest.mark.parametrize("size", [(0, 0), (0, 512), (512, -1)])
def test_a_picture_without_a_size_has_no_face(make_bundle: Callable[..., AvatarBundle], size: tuple[int, int]) -> None:
    """A damaged manifest may say so."""
    assert face_in(make_bundle("ada").path, *size) is None


def test_the_list_reads_only_what_has_changed(
    library: AvatarLibrary, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for all the time; a new name, a new picture and an avatar that is gone are seen at the next look."""
    for name in ("mira", "theo"):
        make_bundle(name)
    read = []
    real = library_module._summary
    monkeypatch.setattr(library_module, "_summary", lambda path: read.append(path.name) or real(path))
    assert {one.id for one in library.list()} == {one.id for one in library.list()} == {"mira", "theo"}
    assert sorted(read) == ["mira", "theo"]
    library.rename("mira", "Other")
    assert {one.name for one in library.list()} >= {"Other"} and read[2:] == ["mira"]
    (library.path_of("theo") / "preview.mp4").write_bytes(b"moving")
    assert next(one for one in library.list() if one.id == "theo").preview is not None
    library.delete("theo")
    assert [one.id for one in library.list()] == ["mira"] and read[3:] == ["theo"]
