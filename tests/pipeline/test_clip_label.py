"""The label that says that a clip was made by AI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from pipeline.clip_label import START_S, ClipLabel, label_language
from pipeline.types import FPS

SIDE = 400


def with_face(bundle: AvatarBundle, x0: float, y0: float, x1: float, y1: float) -> AvatarBundle:
    landmarks = np.zeros_like(bundle.landmarks)
    landmarks[:, ::2, :2], landmarks[:, 1::2, :2] = (x0, y0), (x1, y1)
    return replace(bundle, landmarks=landmarks)


@pytest.fixture
def bundle(make_bundle: Callable[..., AvatarBundle]) -> AvatarBundle:
    return with_face(make_bundle(width=SIDE, height=SIDE), 120, 80, 280, 300)


def changed(label: ClipLabel, index: int = 0) -> np.ndarray:
    """Where a grey picture is another one with its label."""
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return (label.draw(grey, index) != grey).any(axis=2)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_letters_are_large_enough_to_be_read(bundle: AvatarBundle, language: str) -> None:
    """White letters on a dark ground, at least 5 % of the shorter side high."""
    drawn = ClipLabel(bundle, language).draw(np.full((SIDE, SIDE, 3), 128, np.uint8), 0)
    white = np.flatnonzero(np.any(np.all(drawn > 200, axis=2), axis=1))
    assert white[-1] - white[0] + 1 >= 0.05 * SIDE
    assert (drawn < 90).all(axis=2).any()


@pytest.mark.parametrize(
    ("face", "rows", "columns"),
    [
        ((120, 80, 280, 300), "below", "right"),
        ((200, 200, 400, 400), "above", "right"),
        ((150, 0, 400, 400), "below", "left"),
        ((150, 0, 400, 280), "below", "right"),
    ],
)
def test_it_keeps_off_the_face(
    bundle: AvatarBundle, face: tuple[float, float, float, float], rows: str, columns: str
) -> None:
    """It goes to the first corner in which it covers least of it."""
    ys, xs = np.nonzero(changed(ClipLabel(with_face(bundle, *face), "zh")))
    assert ("below" if ys.mean() > SIDE / 2 else "above") == rows
    assert ("right" if xs.mean() > SIDE / 2 else "left") == columns


def test_it_is_there_for_three_seconds_or_always(bundle: AvatarBundle) -> None:
    """It fades at the end of its time; a picture without it is handed on as it is."""
    last = round(START_S * FPS)
    starting, always = ClipLabel(bundle, "en"), ClipLabel(bundle, "en", always=True)
    assert changed(starting, 2 * FPS).any() and not changed(starting, last).any()
    assert changed(always, 100 * FPS).any()
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert starting.draw(picture, last) is picture and not picture.any()


def test_it_fits_into_the_smallest_picture(make_bundle: Callable[..., AvatarBundle]) -> None:
    """It never leaves the picture."""
    small = make_bundle(width=64, height=64)
    picture = np.full((64, 64, 3), 128, np.uint8)
    assert (ClipLabel(small, "en").draw(picture, 0) != picture).any()


@pytest.mark.parametrize(
    ("texts", "language"), [(("Hello.",), "en"), (("你好。",), "zh"), ((None, "小美"), "zh"), ((None, "Mira"), "en")]
)
def test_its_language_is_that_of_the_clip(texts: tuple[str | None, ...], language: str) -> None:
    """By the text, or by the avatar's name where there is none."""
    assert label_language(*texts) == language
