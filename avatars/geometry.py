"""Face geometry: groups of FaceMesh points, the head's own coordinates, and the box in which mouths are drawn.

Landmarks are FaceMesh points with refined lips and irises: float (478, 3), x and y in pixels of the picture, y down,
z in the same scale, smaller towards the viewer. "Left" and "right" are the picture's, not the person's. Lengths that
must not depend on the picture's size are given in IOD, the distance of the outer eye corners.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "BROWS",
    "CHEEKS",
    "CHIN",
    "CHIN_TIP",
    "FACE_TOP",
    "JAW",
    "LANDMARK_COUNT",
    "LEFT_EYE",
    "LEFT_IRIS",
    "LIPS",
    "LIP_CORNERS",
    "LOWER_LIP_INNER",
    "LOWER_LIP_OUTER",
    "NOSE_BASE",
    "RIGHT_EYE",
    "RIGHT_IRIS",
    "SKULL",
    "UPPER_LIP_INNER",
    "UPPER_LIP_OUTER",
    "canonical_points",
    "eye_rings",
    "face_axes",
    "face_scale",
    "face_scales",
    "fit_affine_camera",
    "interocular",
    "mouth_box",
    "mouth_boxes",
    "mouth_mask",
]

Points = npt.NDArray[np.floating]

LANDMARK_COUNT = 478

# Lip contours run from the left corner to the right one. They share no points except the outer corners.
UPPER_LIP_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_LIP_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_LIP_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIP_CORNERS = (61, 291, 78, 308)
LIPS = tuple(sorted({*UPPER_LIP_OUTER, *LOWER_LIP_OUTER, *UPPER_LIP_INNER, *LOWER_LIP_INNER}))

JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
"The contour of the lower face from ear to ear, left to right."
CHIN = (200, 199, 175, 18, 201, 421, 208, 428, 32, 262, 211, 431, 194, 418)
CHEEKS = (205, 425, 50, 280, 36, 266, 207, 427, 187, 411, 147, 376, 213, 433, 214, 434, 212, 432, 202, 422, 204, 424)
NOSE_BASE = (1, 2, 98, 327, 94, 164)
SKULL = (*NOSE_BASE, 33, 133, 362, 263, 6, 197, 234, 454, 93, 323, 116, 345, 101, 330, 127, 356, 54, 284, 10, 151, 9)
"Points that speech does not move."
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
RIGHT_EYE = (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382)
LEFT_IRIS, RIGHT_IRIS = (468, 469, 470, 471, 472), (473, 474, 475, 476, 477)
"The centre, then four points of the rim."
CHIN_TIP = 152
FACE_TOP = 10
NOSE_TIP = 1

_OUTER_CORNERS = (33, 263)
_EYE_CORNERS = (33, 263, 133, 362)
_FACE_HEIGHT_IOD = 1.75
"Height from FACE_TOP to CHIN_TIP of an average face; 1.68 to 1.77 on our three test portraits."

# The mouth box, in IOD along the head's own axes. A jaw drops by at most 0.15.
_BOX_HALF_WIDTH = 0.76
_BOX_ABOVE_NOSE_TIP = 0.14
_BOX_BELOW_CHIN = 0.32
_MASK_FEATHER = 0.10
"Width of the soft edge as a fraction of the box's shorter side."


def interocular(landmarks: Points) -> float:
    """Return the distance of the outer eye corners in the picture, in px."""
    left, right = landmarks[list(_OUTER_CORNERS), :2]
    return float(np.linalg.norm(right - left))


def face_scale(landmarks: Points) -> float:
    """Return one IOD in px. It stays steady when the head turns: half comes from the eyes in 3-D, half from the height
    of the face.
    """
    return float(face_scales(landmarks))


def face_scales(landmarks: Points) -> npt.NDArray[np.float64]:
    """Return face_scale() of each face, in px. landmarks: (..., 478, 3) px."""
    eyes = np.linalg.norm(landmarks[..., _OUTER_CORNERS[1], :] - landmarks[..., _OUTER_CORNERS[0], :], axis=-1)
    height = np.linalg.norm(landmarks[..., CHIN_TIP, :] - landmarks[..., FACE_TOP, :], axis=-1)
    return np.asarray(0.5 * eyes + 0.5 * height / _FACE_HEIGHT_IOD)


def face_axes(landmarks: Points) -> npt.NDArray[np.float64]:
    """Return the head's axes (..., 3, 3) as rows: to the right in the picture, down the face, away from the viewer.

    landmarks: (..., 478, 3) px.
    """
    points = np.asarray(landmarks, np.float64)
    across = _normalized(points[..., _OUTER_CORNERS[1], :] - points[..., _OUTER_CORNERS[0], :])
    down = points[..., CHIN_TIP, :] - points[..., FACE_TOP, :]
    down = _normalized(down - across * (down * across).sum(axis=-1, keepdims=True))
    return np.stack([across, down, np.cross(across, down)], axis=-2)


def _normalized(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale vectors (..., 3) to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def canonical_points(landmarks: Points) -> npt.NDArray[np.float64]:
    """Return landmarks (..., 478, 3) in the head's own coordinates: origin between the eyes, unit IOD, facing us."""
    points = np.asarray(landmarks, np.float64)
    origin = points[..., list(_EYE_CORNERS), :].mean(axis=-2, keepdims=True)
    turned = (points - origin) @ np.swapaxes(face_axes(points), -1, -2)
    return np.asarray(turned / face_scales(points)[..., None, None])


def fit_affine_camera(
    model: Points, picture: Points, weights: npt.NDArray[np.floating] | None = None
) -> npt.NDArray[np.float64]:
    """Return the affine cameras (..., 2, 4) that map points (n, 3) of the head onto points (..., n, 2) of pictures.

    This is a least-squares fit, weighted by `weights` (n,) if given. It uses no depth from the pictures. So it follows
    heads that turn as well as heads that were moved by a smooth distortion of a photo. Project points with
    `points @ camera[:, :3].T + camera[:, 3]`.
    """
    design = np.column_stack([model, np.ones(len(model))])
    seen = np.asarray(picture, np.float64)
    target = np.moveaxis(seen, -2, 0).reshape(len(model), -1)  # one column per picture and axis: one solve for all
    if weights is not None:
        root = np.sqrt(np.asarray(weights, np.float64))[:, None]
        design, target = design * root, target * root
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    return np.ascontiguousarray(solution.T.reshape(*seen.shape[:-2], 2, 4))


def eye_rings(landmarks: Points) -> tuple[Points, Points]:
    """Return the outlines (16, 2) of the left and the right eye, in px."""
    return landmarks[list(LEFT_EYE), :2], landmarks[list(RIGHT_EYE), :2]


def mouth_box(landmarks: Points, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the box x0, y0, x1, y1 (px, end exclusive) that holds every shape of this mouth, with the jaw dropped.

    The box is clipped to the picture; all four numbers are even.
    """
    centre, half = _box_centre_and_half(landmarks)
    x0, y0 = np.floor(np.maximum(centre - half, 0) / 2).astype(int) * 2
    x1, y1 = (np.minimum(np.ceil((centre + half) / 2), [width // 2, height // 2]) * 2).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def mouth_boxes(
    landmarks: Points, width: int, height: int, size: tuple[int, int] | None = None
) -> npt.NDArray[np.int32]:
    """Return boxes (n, 4) int32 for landmarks (n, 478, 3) of one avatar: all of one even size, inside the picture.

    Each box is centred on its own mouth as far as the borders allow, at even coordinates. size: width and height of the
    boxes in px, if other frames of the avatar determine it.
    """
    centres, halves = zip(*(_box_centre_and_half(points) for points in landmarks), strict=True)
    picture = np.array([width // 2 * 2, height // 2 * 2])
    sides = np.ceil(np.max(halves, axis=0)).astype(int) * 2 if size is None else np.array(size)
    sides = np.minimum(sides, picture)
    corners = np.round((np.asarray(centres) - sides / 2) / 2).astype(int) * 2
    corners = np.clip(corners, 0, picture - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.int32)


def _box_centre_and_half(landmarks: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return centre and half size (2,) of the upright box around a box that is turned with the head."""
    points = np.asarray(landmarks, np.float64)
    scale = face_scale(points)
    across = points[_OUTER_CORNERS[1], :2] - points[_OUTER_CORNERS[0], :2]
    across /= np.linalg.norm(across)
    down = np.array([-across[1], across[0]])
    mouth = points[[61, 291], :2].mean(axis=0)
    # In a turned head, chin and cheeks are off to one side, so the box moves part of the way with them.
    jaw_middle = points[[58, 288], :2].mean(axis=0)
    middle = 0.7 * mouth + 0.3 * jaw_middle
    top = (points[NOSE_TIP, :2] - middle) @ down - _BOX_ABOVE_NOSE_TIP * scale
    bottom = (points[CHIN_TIP, :2] - middle) @ down + _BOX_BELOW_CHIN * scale
    side = _BOX_HALF_WIDTH * scale
    corners = np.array([middle + across * x + down * y for x in (-side, side) for y in (top, bottom)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (low + high) / 2, (high - low) / 2


def mouth_mask(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the feathered weight uint8 (height, width) of a patch in its box: 255 inside, 0 on the outermost pixels.

    The lower corners are rounded like a jaw, so that collar and hair beside the chin stay as filmed.
    """
    x = np.abs(np.linspace(-1, 1, width))
    y = np.linspace(-1, 1, height)
    feather = _MASK_FEATHER * 2
    sides = _ramp((1 - x) / feather)[None, :]
    ends = _ramp((1 - np.abs(y)) / feather)[:, None]
    corner = np.hypot(np.maximum(x - 0.25, 0)[None, :] / 0.75, np.maximum(y - 0.1, 0)[:, None] / 0.9)
    jaw = _ramp((1 - corner) / feather)
    return np.asarray(np.round(255 * np.minimum(sides * ends, jaw)), np.uint8)


def _ramp(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a smooth step that is 0 at 0 and 1 at 1."""
    t = np.clip(x, 0, 1)
    return t * t * (3 - 2 * t)
