"""How a still idles: the poses of head and eyes, breathing and blinks, and the order in which the frames are shown.

A loop of a minute has too many pictures to store all of them. So few frames are stored, and they are shown in an order
that does not repeat. The head has five rest poses: three breathed out, two breathed in. A way leads from each of the
three to each of the two, so a head that moves along ways breathes all the time. Movement along a way starts and ends at
zero speed, and a way can be walked in both directions. So any two ways that meet in a pose join smoothly.

Blinks have frames of their own: at each rest pose, and on each way in its forward direction, breathing in.

Eyes jump from one place to the next and stay there, as people's do. Each rest pose has its gaze, and each way has one
between its two jumps. So gaze needs no extra frames. On a way, a blink begins right before the first jump: people blink
when their eyes jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatars.media_limits import FPS
from models.arrays import FloatArray, IntArray

__all__ = ["BLINK", "MIN_LOOP_S", "MOTIONS", "IdleLife", "idle_life"]


MOTIONS = ("right", "down", "roll", "yaw", "pitch", "zoom", "breath")
"""The components of a pose, in this order. right, down, yaw and pitch (of a dome) and breath are in head heights, roll
in radians; zoom is a fraction."""

_BREATH = 0.0065
_BREATHED_OUT = (
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (-0.0060, 0.0030, -0.0130, -0.0360, 0.0100, 0.0, 0.0),
    (0.0050, 0.0040, 0.0170, 0.0230, 0.0190, 0.0020, 0.0),
)
"The first is the unchanged picture, where every loop begins and ends."
_BREATHED_IN = (
    (0.0040, -0.0030, 0.0080, 0.0330, -0.0120, 0.0020, _BREATH),
    (-0.0050, -0.0020, -0.0150, -0.0160, -0.0170, -0.0020, _BREATH),
)
_SIDEWAYS = (0, 2, 3)
"Indices of the motions that are mirrored in half of all avatars."
_WAY_PICTURES = ((40, 46), (52, 36), (38, 48))
"Number of pictures on the way from each breathed-out pose (row) to each breathed-in pose (column)."
_WHEN = ((0.05, 0.90), (0.10, 1.00), (0.15, 1.00), (0.0, 0.75), (0.05, 0.85), (0.0, 1.0), (0.0, 1.0))
"The part of a way during which each motion takes place: a turn leads, a tilt follows, and breath takes all of it."

BLINK = (0.30, 0.78, 1.0, 0.94, 0.62, 0.30, 0.10)
"How far the lids are closed, picture by picture: fast down, slower up."
_BLINK_ON_WAY = 0.3
"Part of a way at which a blink begins: while the head turns, because people blink then."
_BETWEEN_BLINKS_S = (1.6, 4.6)
"Range of the time after which a blink is due. It comes at the first chance from then on, 0 to 1.5 s later."
_DOUBLE_BLINKS = 0.2
"Share of double blinks among the blinks at rest."
_JUMPS_ON_WAY = (_BLINK_ON_WAY, 0.72)
"Parts of a way at which the eyes jump: to the way's own gaze, and then to that of the pose at its end."
_GAZES_BREATHED_OUT = ((0.0, 0.0), (0.75, 0.2), (-0.8, 0.1))
"Gaze in each rest pose: right and down, from -1 to 1. The first is the unchanged picture."
_GAZES_BREATHED_IN = ((-0.45, -0.3), (0.4, 0.35))
_GAZES_ON_WAYS = (((0.55, 0.0), (-0.6, 0.15)), ((-0.15, -0.1), (0.1, 0.1)), ((0.2, -0.1), (-0.2, -0.35)))
_OPEN_BETWEEN = 3
"Number of pictures with open eyes within a double blink."

MIN_LOOP_S = 60
_REST_PICTURES = ((2, 10), (0, 4))
"Fewest and most pictures for which a head rests, breathed out and breathed in. A blink makes it longer."
_TURN_BACK = 0.25
"Weight of going back along the way by which the head came; any other way has the weight 1."


@dataclass(frozen=True, slots=True, eq=False)
class IdleLife:
    """The frames to draw from a still, and the order in which they are shown.

    Neighbouring frames have neighbouring poses, so boxes may be smoothed over them.
    """

    poses: FloatArray
    "(n, len(MOTIONS)) pose in each frame"
    closures: FloatArray
    "(n,) how far the lids are closed, 0 to 1"
    gazes: FloatArray
    "(n, 2) gaze to the right and down, -1 to 1 of the furthest that the eyes may move"
    order: IntArray
    "(m,) frames in playing order; the last one leads to the first"

    def subset(self, frames: slice | npt.NDArray[np.integer], order: IntArray) -> IdleLife:
        """Return these frames alone; `order` numbers them from 0."""
        return IdleLife(self.poses[frames], self.closures[frames], self.gazes[frames], order)


def idle_life(seed: int) -> IdleLife:
    """Return the idle life of an avatar. The seed decides the order of the ways, and whether they are mirrored."""
    random = np.random.default_rng(seed)
    frames = _Frames()
    _lay_out(frames, mirrored=bool(random.integers(2)))
    used, order = np.unique(_Walk(frames, random).round_trip(), return_inverse=True)
    poses, closures, gazes = (
        np.array(values, np.float32) for values in zip(*(frames.drawn[frame] for frame in used), strict=True)
    )
    return IdleLife(poses, closures, gazes, order.astype(np.int32))


class _Frames:
    """The frames of all rest poses and ways; a frame is an index into `drawn`."""

    def __init__(self) -> None:
        self.drawn: list[tuple[npt.NDArray[np.float64], float, _Gaze]] = []
        "pose, closure and gaze of each frame"
        self.rests: dict[_Rest, list[int]] = {}
        "rest pose -> its frame with open eyes, then those of its blink"
        self.ways: dict[_Way, list[int]] = {}
        "(breathed-out pose, breathed-in pose) -> frames between the two"
        self.blinks: dict[_Way, list[int]] = {}
        "way -> the frames with a blink, which replace those from _blink_start() on"

    def draw(self, pose: npt.NDArray[np.float64], gaze: _Gaze, closure: float = 0.0) -> int:
        """Add a frame; return its number."""
        self.drawn.append((pose, closure, gaze))
        return len(self.drawn) - 1


_Gaze = tuple[float, float]
_Rest = tuple[bool, int]
"(whether breathed in, number of the pose)"
_Way = tuple[int, int]


def _blink_start(pictures: int) -> int:
    return round(_BLINK_ON_WAY * pictures)


def _lay_out(frames: _Frames, *, mirrored: bool) -> None:
    """Draw all frames, following a trail that takes every way once. Each blink comes next to its open-eyed frames."""
    sides = np.ones(len(MOTIONS))
    sides[list(_SIDEWAYS)] = -1 if mirrored else 1
    poses = {
        **{(False, number): np.array(pose) * sides for number, pose in enumerate(_BREATHED_OUT)},
        **{(True, number): np.array(pose) * sides for number, pose in enumerate(_BREATHED_IN)},
    }
    side = -1 if mirrored else 1
    gazes: dict[_Rest, _Gaze] = {
        **{(False, number): (side * right, down) for number, (right, down) in enumerate(_GAZES_BREATHED_OUT)},
        **{(True, number): (side * right, down) for number, (right, down) in enumerate(_GAZES_BREATHED_IN)},
    }
    trail: tuple[_Rest, ...] = (
        (True, 0),
        (False, 0),
        (True, 1),
        (False, 1),
        (True, 0),
        (False, 2),
        (True, 1),
    )
    for number, rest in enumerate(trail):
        if rest not in frames.rests:
            frames.rests[rest] = [frames.draw(poses[rest], gazes[rest], closure) for closure in (0.0, *BLINK)]
        if number + 1 < len(trail):
            following = trail[number + 1]
            _lay_out_way(frames, poses, gazes, side, rest, following)


def _lay_out_way(
    frames: _Frames,
    poses: dict[_Rest, npt.NDArray[np.float64]],
    gazes: dict[_Rest, _Gaze],
    side: int,
    start: _Rest,
    end: _Rest,
) -> None:
    breathed_out, breathed_in = (end, start) if start[0] else (start, end)
    way = breathed_out[1], breathed_in[1]
    pictures = _WAY_PICTURES[way[0]][way[1]]
    blinking = range(_blink_start(pictures), _blink_start(pictures) + len(BLINK))
    places = range(pictures - 1)
    right, down = _GAZES_ON_WAYS[way[0]][way[1]]
    first_jump, second_jump = (round(part * pictures) for part in _JUMPS_ON_WAY)
    open_eyed, blink = {}, {}
    for place in reversed(places) if start[0] else places:
        pose = _between(poses[breathed_out], poses[breathed_in], (place + 1) / pictures)
        gaze = (side * right, down)
        if place <= first_jump:
            gaze = gazes[breathed_out]
        elif place > second_jump:
            gaze = gazes[breathed_in]
        open_eyed[place] = frames.draw(pose, gaze)
        if place in blinking:
            blink[place] = frames.draw(pose, gaze, BLINK[place - blinking.start])
    frames.ways[way] = [open_eyed[place] for place in places]
    frames.blinks[way] = [blink[place] for place in blinking]


def _between(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], part: float) -> npt.NDArray[np.float64]:
    """Return the pose at `part` (0 to 1) of a way: each motion starts and ends smoothly, within its times in _WHEN."""
    first, last = np.array(_WHEN).T
    t = np.clip((part - first) / (last - first), 0, 1)
    # The polynomial 6t^5 - 15t^4 + 10t^3 has no speed and no acceleration at either end.
    return np.asarray(start + (end - start) * t**3 * (10 - 15 * t + 6 * t * t))


class _Walk:
    """A random walk along the ways, which collects the frames shown."""

    def __init__(self, frames: _Frames, random: np.random.Generator) -> None:
        self._frames, self._random = frames, random
        self._shown: list[int] = []
        self._came_by: _Way | None = None
        self._blink_due = 0
        self._expect_blink()

    def round_trip(self) -> list[int]:
        """Return the frames from the first rest pose until the walk can return to it, after at least MIN_LOOP_S."""
        breathed_out = 0
        while True:
            self._rest((False, breathed_out))
            breathed_in = self._choose([(breathed_out, number) for number in range(len(_BREATHED_IN))])[1]
            self._breathe_in((breathed_out, breathed_in))
            self._rest((True, breathed_in))
            if len(self._shown) >= MIN_LOOP_S * FPS:
                self._shown += reversed(self._frames.ways[0, breathed_in])
                return self._shown
            back = self._choose([(number, breathed_in) for number in range(len(_BREATHED_OUT))])
            self._shown += reversed(self._frames.ways[back])
            breathed_out = back[0]

    def _choose(self, ways: list[_Way]) -> _Way:
        """Choose one of the ways; the one by which the head has just come is less likely."""
        weights = np.array([_TURN_BACK if way == self._came_by else 1.0 for way in ways])
        self._came_by = ways[int(self._random.choice(len(ways), p=weights / weights.sum()))]
        return self._came_by

    def _breathe_in(self, way: _Way) -> None:
        frames = self._frames.ways[way]
        start = _blink_start(len(frames) + 1)
        if self._blink_due <= len(self._shown) + start:
            stop = start + len(BLINK)
            frames = [*frames[:start], *self._frames.blinks[way], *frames[stop:]]
            self._shown += frames
            # The blink began in the middle of the way, so the time until the next one counts from there.
            self._expect_blink(ago=len(frames) - start)
        else:
            self._shown += frames

    def _rest(self, rest: _Rest) -> None:
        open_eyed, *blink = self._frames.rests[rest]
        least, most = _REST_PICTURES[int(rest[0])]
        self._shown += [open_eyed] * int(self._random.integers(least, most + 1))
        if self._blink_due <= len(self._shown):
            self._shown += blink
            if self._random.random() < _DOUBLE_BLINKS:
                self._shown += [open_eyed] * _OPEN_BETWEEN + blink
            self._expect_blink()
        self._shown.append(open_eyed)

    def _expect_blink(self, ago: int = 0) -> None:
        """Choose when the next blink is due, counted from the last one, which began `ago` pictures ago."""
        self._blink_due = len(self._shown) - ago + round(FPS * self._random.uniform(*_BETWEEN_BLINKS_S))
