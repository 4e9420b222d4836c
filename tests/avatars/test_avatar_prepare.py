"""From upload to avatar, in stages that can be cancelled, killed and run again; refusals name what was seen."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import SIDE, ScriptedAnalyzer, face_at, moving_portrait, write_clip
from PIL import Image
from portraits import portrait
from safetensors import SafetensorError

from avatars import prepare
from avatars.bundle import decode_jpeg
from avatars.detect import Face
from avatars.errors import BadMedia, DiskFull, FaceNotFound
from avatars.library import AvatarLibrary, presets
from avatars.mattes import Mattes
from avatars.media import read_photo
from avatars.mouth_look import look_of
from avatars.prepare import (
    Upload,
    cut_out,
    find_faces,
    make_loop,
    prepare_avatar,
    prepare_preset,
    preset_upload,
    read_source,
    report_strip,
    write,
)
from avatars.source import DECODING
from avatars.workspace import FrameFile, stage_output

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("short_loops")]


def ignore(_part) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def clip(tmp_path: Path):
    return Upload(write_clip(tmp_path / "clip.mp4", moving_portrait(40)), "clip-1", "Clip", source={"file": "clip.mp4"})


@pytest.fixture
def photo(tmp_path: Path):
    return Upload(
        save(tmp_path / "photo.png", portrait("woman", SIDE)[0]), "photo-1", "Photo", source={"consent": True}
    )


def save(path, rgb):
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def scripted(*answers):
    """An analyzer factory for find_faces that gives these faces, call by call."""
    return lambda _tracking: ScriptedAnalyzer(answers)


def prepared(upload, work, answers) -> None:
    read_source(upload, work, ignore)
    find_faces(work, ignore, scripted(*answers))
    make_loop(work, ignore)


def test_a_photo_becomes_an_avatar(tmp_path: Path, library: AvatarLibrary) -> None:
    """A real photo with an open smile, found by the real analyzer, becomes a loop whose boxes hold the mouth."""
    upload = Upload(save(tmp_path / "a.png", portrait("astronaut", 512)[0]), "eileen-1", "Eileen")
    stages = []
    bundle = prepare_avatar(upload, library, lambda stage, part: stages.append((stage, part)))
    assert (bundle.id, bundle.name, bundle.kind) == ("eileen-1", "Eileen", "still")
    assert (bundle.width, bundle.height, bundle.frame_count) == (512, 512, 30)
    lips = bundle.landmarks[:, [0, 17, 61, 291], :2]
    assert (lips > bundle.boxes[:, None, :2]).all()
    assert (lips < bundle.boxes[:, None, 2:]).all()
    assert len(np.unique(bundle.boxes[:, 2:] - bundle.boxes[:, :2], axis=0)) == 1
    x0, y0, x1, y1 = bundle.boxes[0]
    assert bundle.mask(0).shape == (y1 - y0, x1 - x0)
    assert bundle.manifest["report"]["concerns"] == ["mouth_open"]
    assert list(dict.fromkeys(stage for stage, _ in stages)) == list(prepare.STAGES)
    assert all(0 <= part <= 1 for _, part in stages)


def test_a_photo_has_mattes_and_its_own_alpha_counts_most(tmp_path: Path, library: AvatarLibrary) -> None:
    """Who the person is, is found by a network; in a picture with transparent parts it is what is opaque."""
    rgb = portrait("astronaut", 512)[0]
    rows, columns = np.mgrid[:512, :512]
    alpha = np.where(np.hypot(columns - 256, rows - 230) < 225, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "b.png"), np.dstack([cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), alpha]))
    seen = {}
    for name, file in (("found", save(tmp_path / "a.png", rgb)), ("given", tmp_path / "b.png")):
        bundle = prepare_avatar(Upload(file, name, name), library, lambda _stage, _part: None)
        mattes = Mattes.open(bundle.mattes_path)
        assert bundle.cutout_path.is_file() is (mattes is not None)
        assert mattes is not None and len(mattes.of_frame) == bundle.frame_count
        seen[name] = mattes.matte(0)
        assert np.abs(bundle.frame(0).astype(int) - mattes.background)[seen[name] == 0].mean() < 2
    assert seen["found"][230, 256] == seen["given"][230, 256] == 255
    assert np.abs(seen["given"].astype(int) - alpha).mean() < 3 < np.abs(seen["found"].astype(int) - alpha).mean()


def test_a_clip_becomes_an_avatar(clip, tmp_path: Path, library: AvatarLibrary) -> None:
    """A clip of any rate becomes a ping-pong of its own pictures, found by the real analyzer."""
    bundle = prepare_avatar(clip, library, lambda _stage, _part: None)
    assert (bundle.kind, bundle.width, bundle.height) == ("clip", SIDE, SIDE)
    assert 30 <= bundle.frame_count <= 40
    assert set(np.abs(np.diff(np.append(bundle.loop, bundle.loop[0])))) == {1}
    x0, y0, x1, y1 = bundle.boxes[0]
    mouth = bundle.landmarks[0][[61, 291], :2].mean(0)
    assert x0 < mouth[0] < x1
    assert y0 < mouth[1] < y1
    assert bundle.manifest["source"]["file"] == "clip.mp4"


def test_what_is_known_about_the_upload_is_kept(photo, tmp_path: Path, library: AvatarLibrary) -> None:
    """Consent and size are in the manifest, and the poster and preview can be shown."""
    prepared(photo, tmp_path / "work", [[face_at()]])
    write(tmp_path / "work", library, ignore)
    bundle = library.open("photo-1")
    assert bundle.manifest["source"]["consent"] is True
    assert bundle.manifest["source"]["width"] == SIDE
    assert max(decode_jpeg(bundle.poster_path.read_bytes()).shape) <= 512
    with av.open(str(bundle.preview_path)) as preview:
        stream = preview.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert max(stream.width, stream.height) <= 320
        assert 2 <= stream.frames / 25 <= 3
    head = bundle.preview_path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")


def test_a_preset_is_prepared_once(library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of our own characters is made if it is missing, and only then."""
    monkeypatch.setattr(prepare, "MediaPipeFaceAnalyzer", lambda tracking: ScriptedAnalyzer([[face_at(size=512)]]))
    preset = presets()[0]
    bundle = prepare_preset(preset, library)
    assert prepare_preset(preset, library) is bundle
    assert (bundle.id, bundle.width) == (preset.id, 512)
    assert bundle.manifest["source"]["names"]["zh"] == preset.names["zh"]
    assert look_of(bundle.manifest) == preset.mouth_look
    assert preset_upload(preset).closed_eyes == preset.closed_eyes


def test_a_small_face_is_cut_out_of_a_large_photo(tmp_path: Path, library: AvatarLibrary) -> None:
    """A photo of a room becomes a picture of the person in it, and the landmarks follow."""
    room = np.full((900, 1600, 3), 120, np.uint8)
    room[300:556, 900:1156] = portrait("woman", 256)[0]
    work = tmp_path / "work"
    read_source(Upload(save(tmp_path / "room.png", room), "room-1", "Room"), work, ignore)
    find_faces(work, ignore)
    picture, landmarks = np.load(work / "find_faces" / "picture.npy"), np.load(work / "find_faces" / "landmarks.npy")
    height = np.linalg.norm(landmarks[0, 152, :2] - landmarks[0, 10, :2])
    assert picture.shape[0] == picture.shape[1] == 512
    assert 0.2 < height / 512 < 0.45
    assert 100 < landmarks[0, 1, 0] < 412


def test_only_the_chosen_part_of_an_upload_is_used(clip, photo, tmp_path: Path) -> None:
    """Of a photo the same pixels, of a clip each picture; the rest is seen by no later stage."""
    framing = (0.25, 0.125, 0.5, 0.375)
    read_source(replace(photo, framing=framing), tmp_path / "photo", ignore)
    whole = read_photo(photo.path)
    part = whole[SIDE // 8 : SIDE // 2, SIDE // 4 : SIDE // 4 + SIDE // 2]
    assert np.array_equal(np.load(tmp_path / "photo" / "read_source" / "photo.npy"), part)
    read_source(replace(clip, framing=framing), tmp_path / "clip", ignore)
    frames = [decode_jpeg(jpeg) for jpeg in FrameFile(tmp_path / "clip" / "read_source").read()]
    assert {frame.shape for frame in frames} == {(3 * SIDE // 8, SIDE // 2, 3)} and len(frames) == 40


def test_a_part_too_small_to_show_a_face_is_refused(photo, clip, tmp_path: Path) -> None:
    """With its width and the remedy; nothing is left behind."""
    for upload in (photo, clip):
        with pytest.raises(BadMedia, match="px wide") as told:
            read_source(replace(upload, framing=(0.5, 0.5, 0.1, 0.1)), tmp_path / "work", ignore)
        assert "larger part" in told.value.hint and not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([], "No face was found"),
        ([face_at(x=60, y=60, size=60)], r"only \d\d px high"),
        ([face_at(yaw_deg=60)], "turned too far"),
    ],
    ids=["none", "small", "turned"],
)
def test_photos_without_a_usable_face_are_refused(photo, tmp_path: Path, faces, message: str) -> None:
    """What is wrong with the face is named, with a hint, and the report can be shown all the same, again and again."""
    work = tmp_path / "work"
    read_source(photo, work, ignore)
    for _ in range(2):
        with pytest.raises(FaceNotFound, match=message) as refused:
            find_faces(work, ignore, scripted(faces))
        assert refused.value.hint
    report, strip = report_strip(work)
    assert report["used"] == [0, 0]
    assert len(report["words"]) == 1
    assert decode_jpeg(next(iter(strip.values()))).shape == (SIDE, SIDE, 3)


def test_the_largest_of_several_faces_is_used_and_reported(photo, tmp_path: Path) -> None:
    """Two faces are no error: the larger one is used, and the report says so."""
    work = tmp_path / "work"
    read_source(photo, work, ignore)
    find_faces(work, ignore, scripted([face_at(), face_at(x=150, size=80)]))
    report, _ = report_strip(work)
    assert report["counts"]["several_faces"] == 1
    assert "largest" in report["words"][0]
    enlarged = face_at(size=512).landmarks  # as small a photo is enlarged
    assert np.load(work / "find_faces" / "landmarks.npy")[0] == pytest.approx(enlarged, abs=0.1)


def test_bad_stretches_of_a_clip_are_cut_away(clip, tmp_path: Path, library: AvatarLibrary) -> None:
    """Of a clip with a long gap the longest good stretch is used; the report counts the rest and shows it."""
    work = tmp_path / "work"
    answers = [[face_at()]] * 5 + [[]] * 7 + [[face_at(x=index / 9)] for index in range(28)]
    prepared(clip, work, answers)
    write(work, library, ignore)
    report, strip = report_strip(work)
    assert report["used"] == [12, 40]
    assert report["counts"] == {"ok": 33, "missing": 7, "too_small": 0, "turned_away": 0, "several_faces": 0}
    assert report["runs"] == [["ok", 0, 5], ["missing", 5, 7], ["ok", 12, 28]]
    assert any("longest good stretch" in words for words in report["words"])
    assert {one["status"] for one in report["strip"]} == {"ok", "missing"}
    assert list(strip) == [one["file"] for one in report["strip"]] and all(map(len, strip.values()))
    assert len(strip) <= 12
    assert 20 <= library.open("clip-1").frame_count <= 28
    first = np.load(work / "make_loop" / "loop.npz")["stretch"][0]
    shown = library.open("clip-1").frame(0).astype(int)
    assert np.abs(shown - moving_portrait(40)[first]).mean() < 8


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[]], "No face was found"),
        ([[face_at()], *([[]] * 6)] * 6, "no second of good pictures"),
        ([[face_at(yaw_deg=-60)]], "turned too far"),
    ],
    ids=["none", "flicker", "turned"],
)
def test_clips_with_under_a_second_of_face_are_refused(clip, tmp_path: Path, answers, message: str) -> None:
    """A clip needs one good second."""
    read_source(clip, tmp_path / "work", ignore)
    with pytest.raises(FaceNotFound, match=message):
        find_faces(tmp_path / "work", ignore, scripted(*answers))


def test_a_clip_of_half_a_second_is_refused(tmp_path: Path) -> None:
    """A good face for half a second is too little, and that is what is said."""
    upload = Upload(write_clip(tmp_path / "clip.mp4", moving_portrait(12)), "clip-1", "Clip")
    read_source(upload, tmp_path / "work", ignore)
    with pytest.raises(FaceNotFound, match=r"only 0\.5 seconds long"):
        find_faces(tmp_path / "work", ignore, scripted([face_at()]))


def test_stages_that_are_done_do_nothing(clip, tmp_path: Path) -> None:
    """Run again, a stage decodes nothing, looks at no face and changes no file."""
    work = tmp_path / "work"
    prepared(clip, work, [[face_at()]])
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    clip.path.unlink()
    analyzer = ScriptedAnalyzer([[]])
    read_source(clip, work, ignore)
    find_faces(work, ignore, lambda _tracking: analyzer)
    make_loop(work, ignore)
    assert analyzer.calls == 0
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == before


def test_writing_twice_makes_one_avatar(photo, tmp_path: Path, library: AvatarLibrary) -> None:
    """The last stage, too, can be run again."""
    prepared(photo, tmp_path / "work", [[face_at()]])
    assert [write(tmp_path / "work", library, ignore) for _ in range(2)] == ["photo-1", "photo-1"]
    assert [summary.id for summary in library.list()] == ["photo-1"]
    assert [path.name for path in library.root.iterdir()] == ["photo-1"]


def test_of_a_clip_it_is_known_in_each_picture_where_the_person_is(tmp_path: Path, library: AvatarLibrary) -> None:
    """The face is opaque wherever it has moved to, and what is beside the head is not. There is a still with alpha."""
    picture, points = portrait("woman", 256)
    moved = [round(6 * np.sin(index / 4)) for index in range(40)]
    filmed = [
        np.concatenate([picture[:, :1].repeat(8 + x, 1), picture, picture[:, -1:].repeat(8 - x, 1)], 1) for x in moved
    ]
    upload = Upload(write_clip(tmp_path / "sway.mp4", filmed), "sway-1", "Sway", cutout=True)
    faces = [[Face.from_landmarks(points + np.array([8 + x, 0, 0], np.float32))] for x in moved]
    work = tmp_path / "work"
    prepared(upload, work, faces)
    cut_out(work, ignore)
    bundle = library.open(write(work, library, ignore))
    mattes = Mattes.open(bundle.mattes_path)
    assert mattes is not None
    for frame in range(0, bundle.frame_count, 5):
        matte = mattes.matte(frame)
        x, y = bundle.landmarks[frame, 1, :2].astype(int)
        assert matte[y, x] == 255 and matte[4:12, 4:12].max() == 0
    assert bundle.cutout_path.is_file()


def test_nobody_is_cut_out_of_a_clip_unless_that_was_asked_for(
    clip, tmp_path: Path, library: AvatarLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take more than all the rest of the preparation: no network runs, and the bundle has no mattes."""
    monkeypatch.setattr(prepare, "PersonFinder", lambda: pytest.fail("the network was loaded"))
    work, told = tmp_path / "work", []
    prepared(clip, work, [[face_at()]])
    cut_out(work, told.append)
    bundle = library.open(write(work, library, ignore))
    assert told == [1.0] and not bundle.mattes_path.exists() and not bundle.cutout_path.exists()


class Cancelled(Exception):
    """Raised by the progress of a cancelled job."""


@pytest.mark.parametrize("stage", ["read_source", "find_faces", "make_loop", "cut_out", "write"])
def test_a_cancelled_stage_leaves_nothing(clip, photo, tmp_path: Path, library: AvatarLibrary, stage: str) -> None:
    """What progress raises ends the stage, and nothing half-made is left behind."""

    def cancel(_part) -> None:
        raise Cancelled

    work, filmed = tmp_path / "work", replace(clip, cutout=True)
    steps = {
        "read_source": lambda progress: read_source(photo if stage == "make_loop" else filmed, work, progress),
        "find_faces": lambda progress: find_faces(work, progress, scripted([face_at()])),
        "make_loop": lambda progress: make_loop(work, progress),
        "cut_out": lambda progress: cut_out(work, progress),
        "write": lambda progress: write(work, library, progress),
    }
    for name, step in steps.items():
        if name == stage:
            with pytest.raises(Cancelled):
                step(cancel)
            break
        step(ignore)
    done = list(steps)[: list(steps).index(stage)]
    assert sorted(path.name for path in work.glob("*")) == sorted(done)
    assert library.list() == []
    assert list(library.root.iterdir()) == []
    steps[stage](ignore)


def test_the_remains_of_a_killed_stage_do_not_count(clip, tmp_path: Path) -> None:
    """A hidden, half-written directory is thrown away when the stage is run again."""
    remains = tmp_path / "work" / ".read_source"
    remains.mkdir(parents=True)
    (remains / "frames.bin").write_bytes(b"half")
    read_source(clip, tmp_path / "work", ignore)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["read_source"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError("5000000 requested and 1048448 written"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["space", "quota", "numpy", "safetensors"],
)
def test_a_full_disk_is_explained(tmp_path: Path, error) -> None:
    """A full disk is DiskFull with its remedy, whoever met it, and leaves nothing behind."""
    with pytest.raises(DiskFull, match="disk is full") as refused, stage_output(tmp_path, "stage") as output:
        (output / "part").write_bytes(b"x")
        raise error
    assert refused.value.code == "disk_full" and "Free" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_disk_pass_through(tmp_path: Path) -> None:
    """What is no full disk is not told as one."""
    with pytest.raises(PermissionError), stage_output(tmp_path, "stage"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_what_numpy_says_of_a_full_disk_is_known() -> None:
    """numpy's own words for a short write are those that the test above raises."""
    with pytest.raises(OSError, match="requested and") as refused, Path("/dev/full").open("wb") as file:
        np.zeros(1_000_000, np.uint8).tofile(file)
    assert refused.value.errno is None


def test_a_bad_upload_leaves_nothing(tmp_path: Path) -> None:
    """A file that cannot be read is refused before anything is written."""
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(BadMedia):
        read_source(Upload(tmp_path / "a.jpg", "a-1", "A"), tmp_path / "work", ignore)
    assert not list((tmp_path / "work").glob("*"))


def test_the_analyzer_is_closed_whatever_happens(photo, tmp_path: Path) -> None:
    """Its networks are freed after a refusal, too."""
    analyzer = ScriptedAnalyzer([[]])
    read_source(photo, tmp_path / "work", ignore)
    with pytest.raises(FaceNotFound):
        find_faces(tmp_path / "work", ignore, lambda _tracking: analyzer)
    assert analyzer.closed


def test_there_is_no_report_before_faces_were_looked_for(tmp_path: Path) -> None:
    """Before that stage the report is empty, not an error."""
    assert report_strip(tmp_path) == ({}, {})


def test_pixels_are_decoded_elsewhere(photo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that prepares never opens the upload itself."""
    for name in ("read_photo", "clip_frames", "probe"):
        monkeypatch.setattr(f"avatars.source.{name}", None)
    read_source(photo, tmp_path / "work", ignore)
    assert (tmp_path / "work" / "read_source" / "photo.npy").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process' memory")
def test_a_picture_that_needs_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes can be millions of pixels: they are told as such, and nothing is left behind."""
    monkeypatch.setattr("avatars.source.DECODING", replace(DECODING, memory_bytes=64 * 2**20))
    Image.new("RGB", (6000, 6000)).save(tmp_path / "bomb.png")
    with pytest.raises(BadMedia, match="more than 64 MB of memory") as told:
        read_source(Upload(tmp_path / "bomb.png", "a-1", "A"), tmp_path / "work", ignore)
    assert told.value.hint and list((tmp_path / "work").iterdir()) == []


def test_decoding_ends_when_it_is_cancelled(clip, tmp_path: Path) -> None:
    """What progress raises ends the process, and leaves nothing."""

    def cancel(_part) -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        read_source(clip, tmp_path / "work", cancel)
    assert list((tmp_path / "work").iterdir()) == []
