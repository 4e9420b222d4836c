"""compose() puts a patch where its box is and nothing anywhere else."""

import numpy as np
import pytest

from avatars.geometry import mouth_mask
from pipeline.compositing import compose
from pipeline.types import FacePatch

BOX = (10, 20, 50, 50)


@pytest.fixture
def frame(rng):
    return rng.integers(0, 256, (80, 64, 3), dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)


def test_the_mask_decides_between_patch_and_frame(frame, pixels):
    """255 takes the patch, 0 keeps the frame, between them a linear blend to within rounding."""
    before, mask = frame.copy(), mouth_mask(40, 30)
    out = compose(frame, FacePatch(pixels), BOX, mask)
    assert out is frame
    weight = mask[..., None] / 255.0
    expected = weight * pixels + (1 - weight) * before[20:50, 10:50]
    assert np.abs(frame[20:50, 10:50] - expected).max() <= 1
    assert (frame[20:50, 10:50][mask == 255] == pixels[mask == 255]).all()
    assert (frame[20:50, 10:50][mask == 0] == before[20:50, 10:50][mask == 0]).all()


def test_outside_the_box_nothing_changes(frame, pixels):
    """Not one pixel outside the box is touched."""
    before = frame.copy()
    compose(frame, FacePatch(pixels), BOX, np.full((30, 40), 255, np.uint8))
    frame[20:50, 10:50] = before[20:50, 10:50]
    assert (frame == before).all()


def test_a_patch_like_the_frame_leaves_it_bit_identical(frame):
    """Where patch and frame agree, no weight of the mask changes a value: a mouth at rest is the untouched photo."""
    before = frame.copy()
    mask = np.arange(1200, dtype=np.uint32).reshape(30, 40).astype(np.uint8)
    compose(frame, FacePatch(before[20:50, 10:50].copy()), BOX, mask)
    assert (frame == before).all()


def test_opaque_patches_are_copied(frame, pixels):
    """A measuring patch is pasted whole, without the mask."""
    compose(frame, FacePatch(pixels, opaque=True), BOX, np.zeros((30, 40), np.uint8))
    assert (frame[20:50, 10:50] == pixels).all()


def test_sizes_that_disagree_are_refused(frame, pixels):
    """A patch or a mask of another size than the box is an error, not a shifted mouth."""
    with pytest.raises(ValueError, match="patch"):
        compose(frame, FacePatch(pixels[1:]), BOX, np.zeros((30, 40), np.uint8))
    with pytest.raises(ValueError, match="mask"):
        compose(frame, FacePatch(pixels), BOX, np.zeros((40, 30), np.uint8))
