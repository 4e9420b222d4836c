"""Boxes of faces: the arithmetic is the peers', the places are right on faces that we know."""

from __future__ import annotations

import re

import numpy as np
import pytest

from avatars.errors import BadParameters, FaceNotFound
from avatars.face_crops import CropParameters, crop_box, smooth_boxes
from avatars.face_formats import FACE_FORMATS, crop_parameters, face_boxes, mask_from_landmarks, parameters_of
from tests.portraits import portrait

NOSE_TIP, CHIN, MOUTH, LEFT_EAR, RIGHT_EAR = 4, 152, 13, 234, 454

# From LiveTalking a5a77f4 (get_crop_box, get_smoothened_boxes), run on these inputs.
FACE_BOXES = [
    (210, 289, 417, 534),
    (153, 137, 303, 316),
    (0, 0, 101, 100),
    (10, 20, 111, 321),
    (5, 7, 8, 11),
    (600, 1000, 704, 1216),
]
CROP_BOXES = {
    1.5: [
        ((130, 228, 496, 594), 183),
        ((95, 93, 361, 359), 133),
        ((-25, -25, 125, 125), 75),
        ((-165, -55, 285, 395), 225),
        ((3, 6, 9, 12), 3),
        ((490, 946, 814, 1270), 162),
    ],
    1.2: [
        ((167, 265, 459, 557), 146),
        ((122, 120, 334, 332), 106),
        ((-10, -10, 110, 110), 60),
        ((-120, -10, 240, 350), 180),
        ((4, 7, 8, 11), 2),
        ((523, 979, 781, 1237), 129),
    ],
    1.0: [
        ((191, 289, 435, 533), 122),
        ((139, 137, 317, 315), 89),
        ((0, 0, 100, 100), 50),
        ((-90, 20, 210, 320), 150),
        ((4, 7, 8, 11), 2),
        ((544, 1000, 760, 1216), 108),
    ],
}
JUMPING = [
    [0, 0, 50, 60],
    [1, 3, 57, 65],
    [4, 6, 51, 70],
    [9, 9, 58, 75],
    [16, 1, 52, 61],
    [8, 4, 59, 66],
    [2, 7, 53, 71],
    [15, 10, 60, 76],
    [13, 2, 54, 62],
]
SMOOTHED = [
    [6.0, 3.8, 53.6, 66.2],
    [7.6, 4.6, 55.4, 67.4],
    [7.8, 5.4, 54.6, 68.6],
    [10.0, 6.2, 56.4, 69.8],
    [10.8, 4.8, 55.6, 67.2],
    [9.76, 5.56, 56.32, 68.44],
    [10.112, 5.872, 55.784, 68.928],
    [11.7344, 5.6464, 56.3408, 68.5136],
    [11.08128, 4.77568, 55.60896, 67.01632],
]
SMOOTHED_WHOLE = [
    [6, 3, 53, 66],
    [7, 4, 55, 67],
    [7, 5, 54, 68],
    [10, 6, 56, 69],
    [10, 4, 55, 67],
    [9, 5, 56, 68],
    [9, 5, 55, 68],
    [11, 5, 56, 68],
    [10, 4, 55, 66],
]


@pytest.mark.parametrize("expand", CROP_BOXES)
def test_crop_boxes_are_the_originals(expand: float) -> None:
    """The square around a face box is MuseTalk's to the pixel, outside the picture as well."""
    assert [crop_box(box, expand) for box in FACE_BOXES] == CROP_BOXES[expand]


def test_smoothed_boxes_are_the_originals() -> None:
    """Smoothing agrees with Wav2Lip's to 1e-9, and on whole numbers exactly."""
    jumping = np.array(JUMPING)
    assert np.abs(smooth_boxes(jumping.astype(np.float64)) - SMOOTHED).max() < 1e-9
    assert smooth_boxes(jumping.astype(np.int64)).tolist() == SMOOTHED_WHOLE
    assert jumping.tolist() == JUMPING


@pytest.mark.parametrize("count", [1, 4, 5])
def test_short_runs_of_boxes_are_smoothed_over_what_there_is(count: int) -> None:
    """A run shorter than the window is no error: its boxes move towards their mean."""
    boxes = np.array(JUMPING[:count], np.float64)
    assert smooth_boxes(boxes)[0] == pytest.approx(boxes.mean(axis=0))


@pytest.mark.parametrize("name", ["woman", "man", "astronaut"])
def test_musetalk_s_box_has_the_nose_in_its_middle_and_the_mouth_in_its_lower_half(name: str) -> None:
    """The network paints the lower half: it holds mouth and chin, and begins above the tip of the nose."""
    landmarks = portrait(name)[1]
    parameters = crop_parameters("musetalk15", {"extra_margin": 0})
    x0, y0, x1, y1 = face_boxes("musetalk15", landmarks[None], (384, 384), parameters)[0]
    middle = (y0 + y1) / 2
    assert landmarks[168, 1] < middle < landmarks[NOSE_TIP, 1] < landmarks[MOUTH, 1] < y1
    assert abs(y1 - landmarks[CHIN, 1]) < 2
    assert abs(x0 - landmarks[:, 0].min()) < 4 and abs(x1 - landmarks[:, 0].max()) < 4


def test_the_shift_moves_the_middle_and_the_margin_the_lower_end() -> None:
    """bbox_shift moves the upper end by twice as much, extra_margin the lower end; 1.0 has no margin by itself."""
    landmarks = portrait("woman")[1][None]

    def box(backend: str = "musetalk15", **chosen: int) -> np.ndarray:
        return face_boxes(backend, landmarks, (384, 384), crop_parameters(backend, chosen))[0]

    assert (box(bbox_shift=5) - box()).tolist() == [0, 10, 0, 0]
    assert (box(extra_margin=20) - box()).tolist() == [0, 0, 0, 10]
    assert (box() - box("musetalk10")).tolist() == [0, 0, 0, 10]


def test_wav2lip_s_box_is_the_face_and_ten_pixels_below_its_chin() -> None:
    """Pads are added above, below, left and right, in this order."""
    landmarks = portrait("woman")[1][None]

    def box(**chosen: object) -> np.ndarray:
        return face_boxes("wav2lip256", landmarks, (384, 384), crop_parameters("wav2lip256", chosen))[0]

    bare = box(pads=[0, 0, 0, 0])
    assert abs(bare[3] - landmarks[0, CHIN, 1]) < 2 and abs(bare[0] - landmarks[0, :, 0].min()) < 2
    assert (box() - bare).tolist() == [0, 0, 0, 10]
    assert (box(pads=[1, 2, 3, 4]) - bare).tolist() == [-3, -1, 4, 2]


def test_ultralight_s_box_is_a_square_from_the_bridge_of_the_nose() -> None:
    """It is as wide as the face and holds the mouth and the chin."""
    landmarks = portrait("man")[1]
    x0, y0, x1, y1 = face_boxes("ultralight", landmarks[None], (384, 384), CropParameters())[0]
    assert x1 - x0 == y1 - y0 == int(landmarks[RIGHT_EAR, 0]) - int(landmarks[LEFT_EAR, 0])
    assert landmarks[10, 1] < y0 < landmarks[NOSE_TIP, 1] and landmarks[CHIN, 1] < y1


@pytest.mark.parametrize("backend", FACE_FORMATS)
def test_boxes_are_cut_at_the_picture(backend: str) -> None:
    """A face at the edge of the picture has a smaller box; one that is not in it at all is an error."""
    landmarks = portrait("woman")[1]
    edge = landmarks + np.array([384 - landmarks[1, 0], 384 - landmarks[CHIN, 1], 0])
    x0, y0, x1, y1 = face_boxes(backend, edge[None], (384, 384), crop_parameters(backend))[0]
    assert 0 < x0 < x1 == 384 and 0 < y0 < y1 <= 384
    with pytest.raises(FaceNotFound, match="outside the picture"):
        face_boxes(backend, landmarks[None] + 1000, (384, 384), crop_parameters(backend))


@pytest.mark.parametrize(
    "chosen",
    [
        {"parsing_mode": "beard"},
        {"upper_boundary_ratio": 1.5},
        {"left_cheek_width": 300},
        {"pads": [1]},
        {"pads": [0, 0, 0, 2**40]},
        {"bbox_shift": "much"},
        {"bbox_shift": True},
        {"bbox_shift": 1.5},
        {"left_cheek_width": False},
        {"upper_boundary_ratio": float("nan")},
        {"upper_boundary_ratio": "0.5"},
        {"upper_boundary_ratio": False},
        {"upper_boundary_ratio": [0.5]},
        {"parsing_mode": ["jaw"]},
        {"pads": 10},
        {"pads": "1234"},
        {"pads": {"1": 1, "2": 2, "3": 3, "4": 4}},
        {"smooth": "no"},
        {"smooth": 0},
    ],
)
def test_values_that_make_no_sense_are_refused(chosen: dict[str, object]) -> None:
    """A wrong parameter is an error before anything is computed."""
    with pytest.raises(ValueError, match="must be"):
        crop_parameters("musetalk15", chosen)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"upper_boundary_ratio": None}, "upper_boundary_ratio must be a number from 0 to 0.99"),
        ({"right_cheek_width": 300}, "right_cheek_width must be a whole number from 0 to 256"),
        ({"pads": [0, 0, 0, 0.5]}, "each of the pads must be a whole number from -1000 to 1000"),
        ({"parsing_mode": "beard"}, "parsing_mode must be one of raw, jaw, neck"),
    ],
)
def test_the_one_that_does_not_fit_is_named_with_what_would(chosen: dict[str, object], told: str) -> None:
    """It alone, and no value that only a programmer knows."""
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        crop_parameters("musetalk15", chosen)


def test_a_name_that_does_not_exist_is_told() -> None:
    """In our words, with the name."""
    with pytest.raises(ValueError, match="no parameter 'beard', 'chin'"):
        crop_parameters("musetalk15", {"chin": 1, "bbox_shift": 3, "beard": 1})


@pytest.mark.parametrize(
    ("backend", "chosen"), [("musetalk15", {"bbox_shift": 1000}), ("wav2lip96", {"pads": [-200, -200, 0, 0]})]
)
def test_parameters_that_leave_nothing_of_a_face_are_told_as_such(backend: str, chosen: dict[str, object]) -> None:
    """The face is in the picture; another picture would not help. One that is not in it is no matter of parameters."""
    landmarks, parameters = portrait("woman")[1][None], crop_parameters(backend, chosen)
    with pytest.raises(BadParameters, match="leave nothing"):
        face_boxes(backend, landmarks, (384, 384), parameters)
    with pytest.raises(FaceNotFound):
        face_boxes(backend, landmarks + 1000, (384, 384), parameters)


OTHER_VALUES = {
    "bbox_shift": 9,
    "extra_margin": 25,
    "parsing_mode": "neck",
    "left_cheek_width": 20,
    "right_cheek_width": 20,
    "upper_boundary_ratio": 0.7,
    "pads": [5, 5, 5, 5],
    "smooth": False,
}


@pytest.mark.parametrize("backend", FACE_FORMATS)
def test_the_parameters_of_a_backend_are_those_that_make_a_difference(backend: str) -> None:
    """Boxes or masks change with each of them, and with no other; the widths of the cheeks count in mode jaw."""
    _, landmarks = portrait("woman")
    frames = np.stack([landmarks + np.array([shift, 0, 0], np.float32) for shift in (0, 3, 9, 14, 20)])

    def drawn(**chosen: object) -> tuple[bytes, bytes]:
        mode = {} if "parsing_mode" in chosen else {"parsing_mode": "jaw"}
        parameters = crop_parameters(backend, {**mode, **chosen})
        boxes = face_boxes(backend, frames, (384, 384), parameters)
        x0, y0, x1, y1 = boxes[0].tolist()
        return boxes.tobytes(), mask_from_landmarks(landmarks, (x0, y0, x1, y1), backend, parameters).tobytes()

    differing = {name for name, value in OTHER_VALUES.items() if drawn(**{name: value}) != drawn()}
    assert OTHER_VALUES.keys() == CropParameters().to_json().keys()
    assert differing == parameters_of(backend).keys()


def test_defaults_are_those_of_the_backend() -> None:
    """MuseTalk 1.0 has neither the margin nor the jaw; all can be told as JSON."""
    assert parameters_of("musetalk15")["parsing_mode"] == "jaw"
    assert (parameters_of("musetalk10")["parsing_mode"], parameters_of("musetalk10")["extra_margin"]) == ("raw", 0)
    assert parameters_of("wav2lip96") == {"pads": [0, 10, 0, 0], "smooth": True, "upper_boundary_ratio": 0.5}
