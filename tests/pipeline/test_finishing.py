"""finish() makes a network's patch fit its frame, by choice."""

import cv2
import numpy as np
import pytest

from pipeline.compositing import compose
from pipeline.finishing import Finish, finish
from pipeline.types import FacePatch, ImageArray

BOX = (20, 10, 84, 74)


@pytest.fixture
def frame() -> ImageArray:
    """A smooth ramp of skin."""
    columns = np.linspace(120, 180, 100)[None, :, None]
    return np.broadcast_to(columns + np.array([20, 0, -20]), (90, 100, 3)).round().astype(np.uint8)


@pytest.fixture
def mask() -> ImageArray:
    """255 in the middle, feathered to 0 at the edges."""
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 4), np.uint8)


def own(frame: ImageArray) -> ImageArray:
    x0, y0, x1, y1 = BOX
    return frame[y0:y1, x0:x1].copy()


def test_without_a_wish_the_patch_stays_as_it_is(frame: ImageArray, mask: ImageArray) -> None:
    """The default costs nothing: the same patch comes back."""
    patch = FacePatch(own(frame), BOX, mask)
    assert finish(patch, frame, Finish()) is patch


def test_a_tinted_patch_takes_the_colours_of_its_frame(frame: ImageArray, mask: ImageArray) -> None:
    """A patch that is the frame but for a tint is composed into what the frame was, to a level."""
    tinted = (own(frame).astype(int) + np.array([12, -7, 5])).astype(np.uint8)
    matched = finish(FacePatch(tinted, BOX, mask), frame, Finish(match_colour=True))
    composed = compose(frame.copy(), matched)
    assert np.abs(composed.astype(int) - frame).max() <= 1


def test_what_is_drawn_inside_the_mask_does_not_change_the_match(frame: ImageArray, mask: ImageArray) -> None:
    """An open, dark mouth is not taken for a shift of colour: only the seam counts."""
    pixels = own(frame)
    pixels[24:40, 24:40] = 10
    matched = finish(FacePatch(pixels, BOX, np.where(mask > 250, 255, mask).astype(np.uint8)), frame, Finish(True))
    assert np.abs(matched.pixels[:, :8].astype(int) - pixels[:, :8]).max() <= 3


def test_a_patch_of_another_size_comes_out_as_large_as_its_box(frame: ImageArray, mask: ImageArray) -> None:
    """Whatever the network's size."""
    large = np.asarray(cv2.resize(own(frame), (256, 256)), np.uint8)
    finished = finish(FacePatch(large, BOX, mask), frame, Finish(match_colour=True, sharpness=0.5))
    assert finished.pixels.shape == (64, 64, 3)
    assert finished.box == BOX


def test_sharpening_steepens_an_edge_and_leaves_flat_skin(frame: ImageArray, mask: ImageArray) -> None:
    """The contrast across an edge grows with the sharpness; a flat patch is not changed."""
    edge = np.full((64, 64, 3), 100, np.uint8)
    edge[:, 32:] = 150
    ranges = []
    for sharpness in (0.0, 0.5, 1.0):
        pixels = finish(FacePatch(edge, BOX, mask), frame, Finish(sharpness=sharpness)).pixels
        ranges.append(int(pixels.max()) - int(pixels.min()))
    assert ranges[0] < ranges[1] < ranges[2]
    flat = np.full((64, 64, 3), 100, np.uint8)
    assert (finish(FacePatch(flat, BOX, mask), frame, Finish(sharpness=1.0)).pixels == 100).all()


def test_the_networks_own_picture_is_left_alone(frame: ImageArray, mask: ImageArray) -> None:
    """Finishing changes a copy."""
    pixels = own(frame)
    before = pixels.copy()
    finish(FacePatch(pixels, BOX, mask), np.zeros_like(frame), Finish(match_colour=True, sharpness=1.0))
    assert (pixels == before).all()
