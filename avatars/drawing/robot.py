"""Pip, a robot: round shapes, a face plate that looks like vinyl, and large eyes with lids that close.

Axes are Blender's (see scene); the unit is about half the width of the head, whose middle is the origin.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import bmesh
import numpy as np

from avatars.drawing.eyeball import Iris, add_eye
from avatars.drawing.scene import (
    Thing,
    area_light,
    backdrop,
    blend,
    camera,
    linear,
    mesh_object,
    new_scene,
    plain,
    spot,
    tube,
)

__all__ = ["build_robot"]

FACE, BLUSH = "f3cfa9", "ea8f70"
FACE_SIZE, FACE_PLACE, FACE_POWER = (0.93, 0.90, 0.88), (0, -0.14, -0.03), 0.80
EYE_OUT, EYE_UP, EYE_RADIUS = 0.385, 0.14, 0.235
EYE_DEPTH = 0.158
"how far the middle of an eye lies behind the face plate"
MOUTH_UP, MOUTH_HALF = -0.475, 0.30
OPEN_DEG, SHUT_DEG = (33, -38), (-26, -27)
"by how much the upper and the lower lid are turned"


def build_robot(*, shut: bool) -> None:
    """Model it in a new scene, with open or shut eyes."""
    new_scene()
    shell = plain("shell", "f3efe8", 0.28, Coat_Weight=0.6, Coat_Roughness=0.08)
    teal = plain("teal", "2f9c95", 0.3, Coat_Weight=0.5)
    dark = plain("dark", "2b3138", 0.45)
    glow = plain("glow", "ffb347", 0.5, Emission_Strength=2.2)
    glow.node_tree.nodes["Principled BSDF"].inputs["Emission Color"].default_value = linear("ffb347")
    _add_face(teal, shut=shut)
    _round("head", (1.12, 0.98, 1.08), (0, 0.08, 0.06), shell, 0.84, fineness=192)
    orange = plain("orange", "f28a3c", 0.35, Coat_Weight=0.4)
    for side in (1, -1):
        _round("ear", (0.16, 0.30, 0.34), (side * 1.14, 0.08, 0.03), teal, 0.85)
        _round("cap of an ear", (0.10, 0.20, 0.23), (side * 1.25, 0.04, 0.03), orange, 0.9)
        _round("shoulder", (0.46, 0.52, 0.55), (side * 1.62, 0.15, -2.25), teal, 0.92)
    tube("antenna", [(0, 0.1, 1.0), (0, 0.1, 1.32)], 0.035, dark)
    _round("bulb", (0.10, 0.10, 0.10), (0, 0.1, 1.40), glow)
    _round("socket", (0.24, 0.24, 0.10), (0, 0.1, 1.10), teal, 0.9)
    for ring in range(4):
        _round("neck", (0.36, 0.36, 0.075), (0, 0.1, -1.08 - 0.12 * ring), dark, 0.9)
    _round("body", (1.55, 1.0, 1.3), (0, 0.15, -2.72), shell, 0.80)
    _round("yoke", (0.62, 0.60, 0.16), (0, 0.08, -1.50), teal, 0.9)
    _round("heart", (0.20, 0.08, 0.20), (0, -0.84, -2.02), glow, 0.95)
    backdrop("d6e8e6", "7fa9ad", sky="c6d4da")
    middle = (0, 0, 0)
    area_light((-2.4, -4, 3.4), 2.2, 190, (1, 0.95, 0.88), middle)
    area_light((3.6, -3.6, 0.8), 3.4, 90, (0.85, 0.92, 1), middle)
    area_light((2.2, 2.6, 3.0), 1.4, 240, (1, 0.96, 0.9), middle)
    area_light((-2.6, 2.4, 2.0), 1.4, 120, (0.85, 0.95, 1), middle)
    camera(-0.22, 3.7, distance=14)


def _round(
    name: str,
    size: tuple[float, float, float],
    place: tuple[float, float, float],
    material: Thing,
    power: float = 1.0,
    fineness: int = 96,
) -> None:
    """A superellipsoid: 1 is an ellipsoid, a smaller power is boxier."""
    shape = bmesh.new()
    bmesh.ops.create_uvsphere(shape, u_segments=fineness, v_segments=fineness // 2, radius=1)
    for vertex in shape.verts:
        on_ball = np.array(vertex.co)
        vertex.co = np.sign(on_ball) * np.abs(on_ball) ** power * np.array(size)
    mesh_object(name, shape, material, place)


def _front(x: float, z: float) -> float:
    """How far in front (y) the face plate is at x, z."""
    across = (abs(x - FACE_PLACE[0]) / FACE_SIZE[0]) ** (2 / FACE_POWER)
    up = (abs(z - FACE_PLACE[2]) / FACE_SIZE[2]) ** (2 / FACE_POWER)
    return float(FACE_PLACE[1] - FACE_SIZE[1] * max(0.0, 1 - across - up) ** (FACE_POWER / 2))


def _add_face(rim: Thing, *, shut: bool) -> None:
    vinyl = _vinyl()
    width, depth, height = FACE_SIZE
    _round("rim", (width + 0.06, depth, height + 0.06), (0, -0.10, -0.03), rim, FACE_POWER, fineness=320)
    _round("face", FACE_SIZE, FACE_PLACE, vinyl, FACE_POWER, fineness=320)
    _round("nose", (0.085, 0.085, 0.075), (0, _front(0, -0.13) - 0.015, -0.135), vinyl)
    brow = plain("brow", "3c3b40", 0.5)
    iris = Iris("6fd0cd", "2a8f9a", "123e4a", radius=0.63, pupil=0.31, converges_deg=-2)
    along = np.linspace(-1, 1, 21)
    for side in (1, -1):
        place = (side * EYE_OUT, _front(side * EYE_OUT, EYE_UP) + EYE_DEPTH, EYE_UP)
        add_eye(iris, place, EYE_RADIUS, side)
        _add_lids(place, side, vinyl, shut=shut)
        out, up = side * (EYE_OUT + 0.01) + 0.19 * along, EYE_UP + 0.405 - 0.075 * along**2 - side * 0.028 * along
        places = [(x, _front(x, z) - 0.012, z) for x, z in zip(out, up, strict=True)]
        tube("brow", places, 0.032, brow, 0.55 + 0.45 * np.sqrt(1 - 0.95 * along**2))
    _add_lips()


def _vinyl() -> Thing:
    """The material of the face, with rosy cheeks."""
    vinyl = plain("face", FACE, 0.40, Subsurface_Weight=0.15, Subsurface_Scale=0.05)
    tree = vinyl.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Subsurface Radius"].default_value = (1, 0.5, 0.3)
    colour: Thing | str = FACE
    for side in (1, -1):
        cheek = (side * 0.56, _front(side * 0.56, -0.25), -0.25)
        colour = blend(tree, spot(tree, cheek, (0.24, 0.24, 0.24), 0.62), colour, BLUSH)
    tree.links.new(colour, shader.inputs["Base Color"])
    return vinyl


def _add_lids(place: tuple[float, float, float], side: int, vinyl: Thing, *, shut: bool) -> None:
    """Half shells just outside of the eye, turned about the line between its corners."""
    keeps: tuple[Callable[[float], bool], ...] = (lambda z: z > -1e-4, lambda z: z < 1e-4)
    for row, (keep, larger) in enumerate(zip(keeps, (1.075, 1.06), strict=True)):
        shape = bmesh.new()
        bmesh.ops.create_uvsphere(shape, u_segments=64, v_segments=64, radius=EYE_RADIUS * larger)
        bmesh.ops.delete(shape, geom=[one for one in shape.verts if not keep(one.co.z)], context="VERTS")
        lid = mesh_object("lid", shape, vinyl, place)
        thick = lid.modifiers.new("thick", "SOLIDIFY")
        thick.thickness, thick.offset = 0.022, 1
        slant = 0 if shut else side * (3 if row else -3)
        lid.rotation_euler = (math.radians(-(SHUT_DEG if shut else OPEN_DEG)[row]), math.radians(slant), 0)


def _add_lips() -> None:
    """Two soft ridges that meet in a smile."""
    lip = plain("lip", "d07a62", 0.42, Subsurface_Weight=0.1)
    along = np.linspace(-1, 1, 41)
    taper = 0.35 + 0.65 * np.sqrt(np.clip(1 - along**2, 0, 1))
    smile, bow = 0.060 * np.abs(along) ** 2.2, 1 - along**2
    for name, half, up, radius in (
        ("upper lip", MOUTH_HALF, smile + 0.018 * bow + 0.003, 0.025),
        ("lower lip", MOUTH_HALF * 0.96, smile - 0.026 * bow - 0.003, 0.032),
    ):
        places = [(half * x, _front(half * x, MOUTH_UP) - 0.004, MOUTH_UP + z) for x, z in zip(along, up, strict=True)]
        tube(name, places, radius, lip, taper)
