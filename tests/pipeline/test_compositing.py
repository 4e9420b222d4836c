"""compose() puts a patch where its box is and nothing anywhere else."""

import numpy as np
import pytest

from avatars.geometry import mouth_mask
from pipeline.compositing import compose
from pipeline.types import FacePatch, ImageArray

BOX = (10, 20, 50, 50)


@pytest.fixture
def frame(rng: np.random.Generator) -> ImageArray:
    return rng.integers(0, 256, (80, 64, 3), dtype=np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def pixels(rng: np.random.Generator) -> ImageArray:
    return rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)


def test_the_mask_decides_between_patch_and_frame(frame: ImageArray, pixels: ImageArray) -> None:
    """255 takes the patch, 0 keeps the frame, between them a linear blend to within rounding."""
    before, mask = frame.copy(), mouth_mask(40, 30)
    out = compose(frame, FacePatch(pixels, BOX, mask))
    assert out is frame
    weight = mask[..., None] / 255.0
    expected = weight * pixels + (1 - weight) * before[20:50, 10:50]
    assert np.abs(frame[20:50, 10:50] - expected).max() <= 1
    assert (frame[20:50, 10:50][mask == 255] == pixels[mask == 255]).all()
    assert (frame[20:50, 10:50][mask == 0] == before[20:50, 10:50][mask == 0]).all()


def test_outside_the_box_nothing_changes(frame: ImageArray, pixels: ImageArray) -> None:
    """Not one pixel outside the box is touched."""
    before = frame.copy()
    compose(frame, FacePatch(pixels, BOX, np.full((30, 40), 255, np.uint8)))
    frame[20:50, 10:50] = before[20:50, 10:50]
    assert (frame == before).all()


def test_a_patch_like_the_frame_leaves_it_bit_identical(frame: ImageArray) -> None:
    """Where patch and frame agree, no weight of the mask changes a value: a mouth at rest is the untouched photo."""
    before = frame.copy()
    mask = np.arange(1200, dtype=np.uint32).reshape(30, 40).astype(np.uint8)
    compose(frame, FacePatch(before[20:50, 10:50].copy(), BOX, mask))
    assert (frame == before).all()


def test_opaque_patches_are_copied(frame: ImageArray, pixels: ImageArray) -> None:
    """A measuring patch is pasted whole, without the mask."""
    compose(frame, FacePatch(pixels, BOX, None))
    assert (frame[20:50, 10:50] == pixels).all()


def test_a_patch_without_a_mask_fades_as_well(frame: ImageArray, pixels: ImageArray) -> None:
    """At half its strength half of the frame is seen, and at none of it nothing has changed."""
    before = frame.astype(float)
    compose(frame, FacePatch(pixels, BOX, None), 0.0)
    assert (frame == before).all()
    compose(frame, FacePatch(pixels, BOX, None), 0.5)
    assert np.abs(frame[20:50, 10:50] - (before[20:50, 10:50] + pixels) / 2).max() <= 1


def test_what_does_not_fit_is_refused(frame: ImageArray, pixels: ImageArray) -> None:
    """A mask of another size than the box, or a box outside the frame, is an error, not a shifted mouth."""
    with pytest.raises(ValueError, match="mask"):
        compose(frame, FacePatch(pixels, BOX, np.zeros((40, 30), np.uint8)))
    with pytest.raises(ValueError, match="inside"):
        compose(frame, FacePatch(pixels, (30, 20, 70, 50), None))


def test_a_patch_of_another_size_is_resized_to_its_box(frame: ImageArray) -> None:
    """Networks draw at their own size: a patch of one colour fills a box of another size with that colour."""
    compose(frame, FacePatch(np.full((96, 96, 3), 77, np.uint8), BOX, np.full((30, 40), 255, np.uint8)))
    assert (frame[20:50, 10:50] == 77).all()


def test_strength_fades_the_patch(frame: ImageArray, pixels: ImageArray) -> None:
    """Half the strength is half the patch; none leaves the frame as it is."""
    before, mask = frame.copy(), np.full((30, 40), 255, np.uint8)
    compose(frame, FacePatch(pixels, BOX, mask), 0.5)
    expected = (before[20:50, 10:50].astype(float) + pixels) / 2
    assert np.abs(frame[20:50, 10:50] - expected).max() <= 1
    untouched = before.copy()
    compose(untouched, FacePatch(pixels, BOX, mask), 0.0)
    assert (untouched == before).all()


def test_it_agrees_with_livetalkings_blending() -> None:
    """MuseTalk's paste-back in LiveTalking, with its pixels: a face in a larger crop, under the crop's mask, to +-1."""
    rng = np.random.default_rng(7)
    frame = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    face = rng.integers(0, 256, (80, 64, 3), dtype=np.uint8)
    rows, columns = np.mgrid[0:120, 0:120]
    mask = (255 * np.clip(1 - (((columns - 60) / 45.0) ** 2 + ((rows - 75) / 38.0) ** 2), 0, 1)).astype(np.uint8)
    crop = frame[50:170, 92:212].copy()
    crop[20:100, 28:92] = face  # the face's box is 120, 70, 184, 150
    compose(frame, FacePatch(crop, (92, 50, 212, 170), mask))
    expected = {
        (95, 130): (207, 142, 32),
        (110, 152): (222, 1, 132),
        (120, 150): (22, 113, 163),
        (140, 170): (161, 199, 198),
        (149, 183): (103, 158, 197),
        (60, 110): (185, 12, 146),
        (0, 0): (139, 74, 229),
    }
    for (y, x), colour in expected.items():
        assert np.abs(frame[y, x].astype(int) - colour).max() <= 1
    assert frame.mean() == pytest.approx(127.55666666666667, abs=0.5)


def test_every_level_and_weight_is_mixed_to_the_nearest_level(rng: np.random.Generator) -> None:
    """No combination of frame, patch and mask is off by more than half a level."""
    frame = rng.integers(0, 256, (300, 256, 3), dtype=np.uint8)
    pixels = rng.integers(0, 256, (300, 256, 3), dtype=np.uint8)
    mask = np.tile(np.arange(256, dtype=np.uint8), (300, 1))
    before = frame.astype(float)
    compose(frame, FacePatch(pixels, (0, 0, 256, 300), mask))
    weight = mask[..., None] / 255
    assert np.abs(frame - (weight * pixels + (1 - weight) * before)).max() <= 0.5 + 1e-9


def test_a_mask_without_weight_leaves_the_frame(frame: ImageArray, pixels: ImageArray) -> None:
    """An empty mask changes nothing."""
    before = frame.copy()
    compose(frame, FacePatch(pixels, BOX, np.zeros((30, 40), np.uint8)))
    assert (frame == before).all()
