"""Foreign avatars for tests, in the exact layout of each project's tool. They show the drawn woman, swaying."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import SIDE, moving_portrait
from portraits import portrait

from avatars.errors import BadImport
from avatars.prepare import Upload, read_source

Box = tuple[int, int, int, int]


def face_boxes(count: int, side: int = SIDE) -> list[Box]:
    """Return x0, y0, x1, y1 of the face in each picture of moving_portrait()."""
    _, landmarks = portrait("woman", side)
    x0, y0 = (round(float(edge)) for edge in landmarks[:, :2].min(axis=0))
    x1, y1 = (round(float(edge)) for edge in landmarks[:, :2].max(axis=0))
    shifts = [round(4 * np.sin(index / 4)) for index in range(count)]
    return [(x0 + shift, y0, x1 + shift, y1) for shift in shifts]


def crop_boxes(count: int, side: int = SIDE) -> list[Box]:
    """Return the square of Ultralight's crop in each picture of moving_portrait().

    It follows PFLD's points: from ear to ear, from the bridge of the nose down. They differ a little from FaceMesh's.
    """
    _, landmarks = portrait("woman", side)
    x0, x1, y0 = int(landmarks[234, 0]) - 2, int(landmarks[454, 0]) + 1, int(landmarks[197, 1]) + 3
    shifts = [round(4 * np.sin(index / 4)) for index in range(count)]
    return [(x0 + shift, y0, x1 + shift, y0 + x1 - x0) for shift in shifts]


def livetalking_wav2lip(folder: Path, count: int = 40, face_px: int = 96) -> Path:
    """Write coords as tuples of y1, y2, x1, x2."""
    boxes = face_boxes(count)
    save_pictures(folder / "full_imgs", moving_portrait(count))
    save_faces(folder, count, face_px)
    save_pickle(folder / "coords.pkl", [(y0, y1, x0, x1) for x0, y0, x1, y1 in boxes])
    return folder


def livetalking_ultralight(folder: Path, count: int = 40, network: Path | None = None) -> Path:
    """Write coords as tuples of numpy integers. network: the avatar's own network, which is copied beside them."""
    save_pictures(folder / "full_imgs", moving_portrait(count))
    save_faces(folder, count, 168)
    save_pickle(folder / "coords.pkl", [tuple(map(np.int64, box)) for box in crop_boxes(count)])
    if network is not None:
        shutil.copyfile(network, folder / "ultralight.pth")
    return folder


def livetalking_musetalk(folder: Path, count: int = 40) -> Path:
    """Write each picture once, and no version."""
    _musetalk(folder, moving_portrait(count), face_boxes(count), {"bbox_shift": 0})
    return folder


def musetalk(folder: Path, count: int = 40) -> Path:
    """Write the doubled cycle of MuseTalk's realtime_inference.py."""
    pictures, boxes = moving_portrait(count), face_boxes(count)
    _musetalk(folder, [*pictures, *pictures[::-1]], [*boxes, *boxes[::-1]], {"bbox_shift": 5, "version": "v15"})
    return folder


def openavatarchat(folder: Path, count: int = 40, full_imgs: bool = True) -> Path:
    """Write MuseTalk's layout, and pickles of pictures and masks.

    full_imgs: if False, full_imgs and mask are left out; OpenAvatarChat starts without them, too.
    """
    pictures, boxes = moving_portrait(count), face_boxes(count)
    cycle = [*pictures, *pictures[::-1]]
    _musetalk(folder, cycle, [*boxes, *boxes[::-1]], {"bbox_shift": 0, "version": "v15"})
    save_pickle(folder / "frames.pkl", [cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) for rgb in cycle])
    save_pickle(folder / "masks.pkl", [np.full((90, 90), 255, np.uint8) for _ in cycle])
    if not full_imgs:
        for path in (*folder.glob("full_imgs/*"), *folder.glob("mask/*")):
            path.unlink()
    return folder


def leave_originals(folder: Path, names: Sequence[str]) -> None:
    """Add the pictures that MuseTalk's tools copy to full_imgs before they write their own, if given a folder."""
    for name in names:
        if not (folder / "full_imgs" / name).exists():
            cv2.imwrite(str(folder / "full_imgs" / name), np.full((SIDE, SIDE, 3), 99, np.uint8))


def _musetalk(folder: Path, pictures: Sequence[np.ndarray], boxes: Sequence[Box], info: dict[str, Any]) -> None:
    save_pictures(folder / "full_imgs", pictures)
    save_pictures(folder / "mask", [np.full((90, 90, 3), 255, np.uint8) for _ in pictures])
    save_pickle(folder / "coords.pkl", [list(box) for box in boxes])
    save_pickle(folder / "mask_coords.pkl", [[x0 - 9, y0 - 9, x1 + 9, y1 + 9] for x0, y0, x1, y1 in boxes])
    (folder / "latents.pt").write_bytes(b"no latents at all")
    (folder / "vid_output").mkdir()
    noted = {"avatar_id": folder.name, "video_path": "/home/somebody/private.mp4", **info}
    (folder / "avator_info.json").write_text(json.dumps(noted))


def save_pictures(folder: Path, pictures: Sequence[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, rgb in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index:08d}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def save_faces(folder: Path, count: int, side: int) -> None:
    save_pictures(folder / "face_imgs", [np.zeros((side, side, 3), np.uint8)] * count)


def save_pickle(path: Path, value: Any) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file)


def zipped(folder: Path, *, inside: bool = True) -> Path:
    """Zip a folder. inside: with the folder's name before all paths, as file managers do."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent if inside else folder))
    return path


def refuse(path: Path, work: Path, match: str) -> None:
    """Check that preparing it is refused with this message, and leaves nothing behind."""
    with pytest.raises(BadImport, match=match) as caught:
        read_source(Upload(path, "foreign-1", "Foreign"), work, lambda _part: None)
    assert caught.value.hint and caught.value.code == "bad_import"
    assert not work.exists() or list(work.iterdir()) == []
