"""Masks of generated faces: MuseTalk's arithmetic, and the right parts of faces that we know."""

from __future__ import annotations

import numpy as np
import pytest

from avatars.face_crops import Box, CropParameters, crop_box
from avatars.face_formats import crop_parameters, face_boxes
from avatars.face_masks import (
    PARSE_PX,
    blurred_mask,
    classes_to_mask,
    face_classes,
    feathered_mask,
    mask_in_box,
    musetalk_mask,
)
from tests.portraits import portrait

# From LiveTalking a5a77f4 (get_image_prepare_material), a parser that finds rows h//4:h-h//8 and columns w//4:w-w//4.
FACE_BOX: Box = (120, 70, 184, 150)
MASK_SUM, COLUMN = 611992, 60
UPPER_EDGE = [1, 6, 16, 35, 65, 106, 149, 190, 220, 239, 249, 254, 255]
LOWER_EDGE = [255, 254, 249, 239, 220, 190, 149, 106, 65, 35, 16, 6, 1]


def parsed(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height - height // 8, width // 4 : width - width // 4] = 255
    return mask


def test_the_blurred_mask_is_the_original_s() -> None:
    """Cut, boundary and blur of a parsed crop agree with MuseTalk's to one level of grey."""
    mask = blurred_mask(parsed(120, 120), FACE_BOX).astype(int)
    assert mask.shape == (120, 120)
    column = np.zeros(120, int)
    column[54:67], column[67:93], column[93:106] = UPPER_EDGE, 255, LOWER_EDGE
    assert np.abs(mask[:, COLUMN] - column).max() <= 1
    assert abs(mask.sum() - MASK_SUM) / MASK_SUM < 1e-3
    assert not mask[0].any() and not mask[-1].any()


def test_the_mask_of_the_box_is_the_part_of_the_crop_s_mask_that_matters() -> None:
    """What is kept has the box's size; the rest of the crop never was generated."""
    mask = blurred_mask(parsed(120, 120), FACE_BOX)
    cut = mask_in_box(mask, FACE_BOX)
    assert cut.shape == (80, 64)
    assert np.array_equal(cut, mask[20:100, 28:92])


def mask_of(landmarks: np.ndarray, box: Box, parameters: CropParameters) -> np.ndarray:
    return musetalk_mask(face_classes(landmarks, crop_box(box)[0]), box, parameters)


def face_of(name: str) -> tuple[np.ndarray, Box, CropParameters]:
    landmarks = portrait(name)[1]
    parameters = crop_parameters("musetalk15")
    x0, y0, x1, y1 = face_boxes("musetalk15", landmarks[None], (384, 384), parameters)[0].tolist()
    return landmarks, (x0, y0, x1, y1), parameters


@pytest.mark.parametrize("name", ["woman", "man", "astronaut"])
def test_the_mask_of_a_face_shows_mouth_and_chin_and_keeps_eyes_and_corners(name: str) -> None:
    """Mouth, chin and cheeks beside the mouth are generated; eyes, the upper edge and the lower corners are filmed."""
    landmarks, box, parameters = face_of(name)
    mask = mask_of(landmarks, box, parameters)
    x0, y0, x1, y1 = box

    def at(point: int) -> int:
        x, y = landmarks[point, :2]
        return int(mask[int(y) - y0, int(x) - x0])

    assert mask.shape == (y1 - y0, x1 - x0)
    assert all(at(point) > 240 for point in (13, 14, 17, 61, 291, 200))
    assert all(at(point) == 0 for point in (159, 386, 6))
    assert not mask[0].any() and mask[-1, 0] < 30 and mask[-1, -1] < 30


def test_the_modes_reach_less_and_farther_down() -> None:
    """Raw ends at the chin, neck goes on below it, jaw leaves room for a jaw that drops."""
    landmarks, box, _ = face_of("woman")
    crop, _ = crop_box(box)
    classes = face_classes(landmarks, crop)
    masks = {mode: classes_to_mask(classes, CropParameters(parsing_mode=mode)) > 0 for mode in ("raw", "jaw", "neck")}
    chin = int((landmarks[152, 1] - crop[1]) * PARSE_PX / (crop[3] - crop[1]))
    lowest = {mode: int(np.flatnonzero(mask[:, PARSE_PX // 2])[-1]) for mode, mask in masks.items()}
    assert abs(lowest["raw"] - chin) <= 2 and lowest["neck"] == PARSE_PX - 1
    assert lowest["raw"] + 5 < lowest["jaw"] < lowest["neck"]
    assert not (masks["raw"] & ~masks["neck"]).any()


def test_cheek_widths_cut_the_jaw_back_at_its_sides() -> None:
    """Beside the strip between the cheek widths the mask is narrower; within it nothing changes."""
    landmarks, box, _ = face_of("woman")
    classes = face_classes(landmarks, crop_box(box)[0])
    wide, narrow = (
        classes_to_mask(classes, CropParameters(left_cheek_width=width, right_cheek_width=width)) for width in (256, 40)
    )
    middle = np.s_[:, PARSE_PX // 2 - 39 : PARSE_PX // 2 + 40]
    assert np.array_equal(wide[middle], narrow[middle])
    assert np.count_nonzero(narrow) < np.count_nonzero(wide)


def test_the_boundary_decides_how_much_is_left_as_filmed() -> None:
    """A higher upper_boundary_ratio keeps more of the upper face."""
    landmarks, box, _ = face_of("man")
    first_rows = [
        int(np.flatnonzero(mask_of(landmarks, box, CropParameters(upper_boundary_ratio=ratio)).any(axis=1))[0])
        for ratio in (0.4, 0.5, 0.6)
    ]
    assert first_rows[0] < first_rows[1] < first_rows[2]


def test_a_face_at_the_edge_has_a_mask_too() -> None:
    """A crop that reaches out of the picture is no error."""
    landmarks, (x0, _, x1, _), parameters = face_of("woman")
    landmarks = landmarks - np.array([x0 + (x1 - x0) // 3, 0, 0])
    (box,) = face_boxes("musetalk15", landmarks[None], (384, 384), parameters).tolist()
    mask = mask_of(landmarks, (box[0], box[1], box[2], box[3]), parameters)
    assert box[0] == 0 and mask.shape == (box[3] - box[1], box[2] - box[0]) and mask.max() == 255


@pytest.mark.parametrize("size", [(80, 100), (7, 9), (2, 2)])
def test_a_feathered_mask_ends_in_nothing_at_its_edges(size: tuple[int, int]) -> None:
    """No rectangle shows: the outermost pixels are as filmed, and so is the part above the boundary."""
    mask = feathered_mask(*size, 0.5)
    assert mask.shape == (size[1], size[0])
    assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    assert not mask[: size[1] // 2].any()
    assert size == (2, 2) or mask[size[1] * 3 // 4, size[0] // 2] > 200
