"""Hair as strands: guides grow from the scalp, and children follow each of them.

Strands are (n, k, 3): n of them with k points each, in MakeHuman's axes (see base_human).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy
import numpy as np
import numpy.typing as npt

from avatars.drawing.base_human import BaseHuman, Skin, to_blender
from avatars.drawing.scene import Array, Thing, add, linear, plain

__all__ = ["EYES_UP", "add_brows", "add_hair", "add_lashes"]

EYES_UP = 6.79
"height of the eyes; every head is moved there"

SCALP_FROM, SCALP_OUT = 6.0, 1.1
_MIDDLE_Z = 0.35
_ROUND_DEG = (0, 25, 50, 68, 78, 88, 100, 120, 150, 180)
"directions from the front to the back of a head"
_HAIRLINES = {
    "receding": (0.76, 0.72, 0.60, 0.38, 0.14, -0.02, 0.05, -0.10, -0.30, -0.38),
    "curls": (0.64, 0.62, 0.55, 0.36, 0.20, 0.05, 0.05, -0.10, -0.30, -0.40),
}
"where hair begins over the eyes, in each of these directions"
_HAIRLINE_SOFT = 0.016


def add_hair(style: str, colour: str, skin: Skin) -> None:
    """`style` is receding or curls."""
    rng = np.random.default_rng(7)
    material = _hair_material(colour, 0.5 if style == "curls" else 0.32)
    if style == "curls":
        _add_curls(material, skin, rng)
    else:
        _add_short(style, material, skin, rng)


def add_brows(colour: str, strength: float, raised: float, skin: Skin, eyes: Iterable[Array]) -> None:
    """`strength` is 1 for usual brows; `raised` is how far they are from where they usually are."""
    rng = np.random.default_rng(3)
    knots = np.linspace(0, 1, 5)
    out = np.array([-0.20, -0.08, 0.07, 0.22, 0.32])
    up = np.array([0.205, 0.245, 0.275, 0.255, 0.19]) + raised
    hairs = []
    for side, eye in zip((1, -1), eyes, strict=True):
        for _ in range(int(330 * strength)):
            along = rng.random() ** 0.9
            thick = 0.032 * strength * (1 - 0.75 * along) * (0.75 + 0.25 * min(1, along * 6))
            x, y = np.interp(along, knots, out), np.interp(along, knots, up) + rng.uniform(-1, 1) * thick
            turn = np.interp(along, [0, 0.3, 0.7, 1], [1.15, 0.62, 0.05, -0.45]) + rng.normal() * 0.12
            length = np.interp(along, [0, 0.4, 1], [0.085, 0.10, 0.06]) * rng.uniform(0.8, 1.2)
            hair = []
            for part in knots:
                bent = turn - 0.35 * part
                seen = skin.in_front(
                    eye[0] + side * (x + np.cos(bent) * length * part), eye[1] + y + np.sin(bent) * length * part
                )
                if seen is not None:
                    hair.append(seen[0] + seen[1] * (0.004 + 0.02 * part * (1 - part)))
            if len(hair) == len(knots):
                hairs.append(hair)
    material = plain("brows", colour, 0.75, Specular_IOR_Level=0.15)
    _add_strands(np.array(hairs), material, 0.0044 * min(1.15, strength), 0.25)


def add_lashes(human: BaseHuman, vertices: Array, length: float, *, shut: bool) -> None:
    """Lashes of the upper lids, along the strips that the mesh has for them; those of shut eyes lie down."""
    rng = np.random.default_rng(5)
    upwards = np.array([0, 1.0, 0])
    hairs = []
    for side in "lr":
        strip = {vertex: place for face in human.groups[f"helper-{side}-eyelashes-2"] for vertex, place in face}
        index = np.array(list(strip))
        places = human.texture[list(strip.values())]
        # The strip runs along u; over its curve are the tips, under it the roots.
        above = places[:, 1] - np.polyval(np.polyfit(places[:, 0], places[:, 1], 3), places[:, 0])
        roots, tips = above < np.percentile(above, 35), above > np.percentile(above, 65)
        low = max(places[roots, 0].min(), places[tips, 0].min())
        high = min(places[roots, 0].max(), places[tips, 0].max())
        for u in np.linspace(low + 0.07 * (high - low), high - 0.04 * (high - low), 46):
            root, tip = (_along(places[row, 0], vertices[index[row]], u) for row in (roots, tips))
            out = np.array([np.sign(root[0]), 0, 0]) * ((u - low) / (high - low) - 0.35) * 0.4
            towards = (tip - root) / np.linalg.norm(tip - root) + out
            size = 0.075 * length * rng.uniform(0.8, 1.15)
            part = np.linspace(0, 1, 6)[:, None]
            hairs.append(root + towards * size * part + upwards * size * part**2 * (-0.275 if shut else 0.55))
    _add_strands(np.array(hairs), plain("lashes", "0c0706", 0.7), 0.0038, 0.2)


def _along(u: Array, places: Array, at: float) -> Array:
    order = np.argsort(u)
    return np.array([np.interp(at, u[order], places[order, axis]) for axis in range(3)])


def _hair_material(colour: str, roughness: float) -> Thing:
    material = bpy.data.materials.new("hair")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    shader = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    shader.parametrization = "COLOR"
    shader.inputs["Color"].default_value = linear(colour)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Radial Roughness"].default_value = 0.45
    tree.links.new(shader.outputs[0], tree.nodes.new("ShaderNodeOutputMaterial").inputs[0])
    return material


def _add_strands(strands: Array, material: Thing, radius: float, tip: float) -> None:
    """`tip` is the part of the radius that is left at the end. Roots are thin too, so that a hairline is soft."""
    count, points, _ = strands.shape
    curves = bpy.data.hair_curves.new("strands")
    curves.add_curves([points] * count)
    curves.position_data.foreach_set("vector", to_blender(strands).astype(np.float32).ravel())
    part = np.linspace(0, 1, points)
    radii = np.tile(radius * (1 - (1 - tip) * part**2) * np.minimum(1, 0.45 + 5 * part), count).astype(np.float32)
    attribute = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    attribute.data.foreach_set("value", radii)
    curves.materials.append(material)
    add("strands", curves)


def _roots(style: str, count: int, skin: Skin, rng: np.random.Generator) -> tuple[Array, Array]:
    """About `count` places on the scalp and their normals."""

    def above(places: Array, margin: float) -> npt.NDArray[np.bool_]:
        round_head = np.abs(np.arctan2(places[:, 0], places[:, 2] - _MIDDLE_Z))
        line = np.interp(round_head, np.radians(_ROUND_DEG), _HAIRLINES[style]) + EYES_UP
        on_head = (np.abs(places[:, 0]) < SCALP_OUT) & (places[:, 1] > SCALP_FROM)
        return (places[:, 1] > line - margin) & on_head

    # Whole triangles would give the hairline teeth, so more than enough are scattered and the line cuts them.
    places, normals = skin.scatter(int(count * 1.5), lambda middles: above(middles, 0.25), rng)
    uneven = np.array([0, 1, 0]) * rng.normal(size=(len(places), 1)) * _HAIRLINE_SOFT
    kept = above(places + uneven, 0.0)
    return places[kept][:count], normals[kept][:count]


def _between(strands: Array, at: Array) -> Array:
    """Points of each strand at places (n, m) of its length, 0 to 1."""
    points = strands.shape[1]
    place = at * (points - 1)
    before = np.clip(place.astype(int), 0, points - 2)
    share = (place - before)[..., None]
    rows = np.arange(len(strands))[:, None]
    return np.asarray(strands[rows, before] * (1 - share) + strands[rows, before + 1] * share)


def _children(guides: Array, each: int, rng: np.random.Generator, spread: float, clump: float, cut: float) -> Array:
    """Strands round their guides; they come together by `clump` and lose up to `cut` of their length."""
    count, points, _ = guides.shape
    part = np.linspace(0, 1, points)
    beside = rng.normal(size=(count * each, 1, 3)) * spread
    strands = np.repeat(guides, each, axis=0) + beside * (1 - clump * part[None, :, None] ** 1.2)
    return _between(strands, part[None] * (1 - cut * rng.random((count * each, 1))))


def _grown(
    skin: Skin, roots: Array, normals: Array, lengths: Array, steer: Callable[[Array, float], Array], gap: Array
) -> Array:
    """Guides that turn as `steer` wants and stay `gap` outside of the head."""
    points = 9
    guides = np.zeros((len(roots), points, 3))
    guides[:, 0] = place = roots.copy()
    towards = normals
    for index in range(1, points):
        towards = steer(towards, index / (points - 1))
        towards /= np.linalg.norm(towards, axis=1)[:, None] + 1e-9
        place = place + towards * (lengths / (points - 1))[:, None]
        for one in range(len(place)):
            surface, normal = skin.nearest(place[one])
            least = gap[one] * min(1, index / 2.5)
            if (place[one] - surface) @ normal < least:
                place[one] = surface + normal * least
        guides[:, index] = place
    return guides


def _add_short(style: str, material: Thing, skin: Skin, rng: np.random.Generator) -> None:
    """Combed back and to one side, shorter on the sides."""
    roots, normals = _roots(style, 900, skin, rng)
    high = np.clip((roots[:, 1] - (EYES_UP + 0.25)) / 0.55, 0, 1)
    on_top, aside = 0.30, 0.22
    lengths = (0.10 + (on_top - 0.10) * high**1.2) * (0.85 + 0.3 * rng.random(len(roots)))
    front = np.clip((roots[:, 2] - 0.6) / 0.5, 0, 1) * high

    def steer(towards: Array, part: float) -> Array:
        lift = front * (1 - part)
        comb = np.stack([aside * high, 0.15 * high + 0.55 * lift - 0.55 * (1 - high), 0.45 * lift - 0.85], axis=1)
        return np.asarray(0.62 * towards + 0.5 * comb + 0.04 * rng.normal(size=towards.shape))

    guides = _grown(skin, roots, normals, lengths, steer, 0.02 + 0.02 * high * rng.random(len(roots)))
    _add_strands(_children(guides, 24, rng, 0.04, 0.5, 0.3), material, 0.0055, 0.3)


def _add_curls(material: Thing, skin: Skin, rng: np.random.Generator) -> None:
    """Corkscrews that stand off the head on all sides."""
    roots, _ = _roots("curls", 900, skin, rng)
    lengths = 0.50 + 0.09 * rng.random(len(roots))
    outwards = roots - np.array([0, 7.15, 0.25])
    outwards /= np.linalg.norm(outwards, axis=1)[:, None]
    each, points = 12, 26
    part = np.linspace(0, 1, points)
    straight = roots[:, None] + outwards[:, None] * part[None, :, None] * lengths[:, None, None]
    strands = np.repeat(straight, each, axis=0)
    phase = rng.random((len(strands), 1)) * 2 * np.pi
    beside = rng.normal(size=(len(strands), 1, 3))
    axis = np.repeat(outwards, each, axis=0)[:, None]
    first = np.cross(beside, axis)
    first /= np.linalg.norm(first, axis=2)[..., None]
    second = np.cross(axis, first)
    turn = phase + part[None] * 2 * np.pi * 4
    radius = 0.045 * np.minimum(1, part * 5)[None, :, None]
    curl = radius * (np.sin(turn)[..., None] * first + np.cos(turn)[..., None] * second)
    _add_strands(strands + rng.normal(size=(len(strands), 1, 3)) * 0.035 + curl, material, 0.0065, 0.6)
