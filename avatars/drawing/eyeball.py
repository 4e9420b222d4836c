"""An eye: a ball with a painted iris, a little hollow, under a clear cornea that catches the light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bmesh
import bpy
import numpy.typing as npt

from avatars.drawing.scene import Thing, linear, mesh_object, plain

__all__ = ["Iris", "add_eye"]


@dataclass(frozen=True, slots=True)
class Iris:
    """Colours as six hex digits, radii in parts of the eye's."""

    inner: str
    middle: str
    rim: str
    radius: float = 0.47
    pupil: float = 0.20
    converges_deg: float = -1.5
    "how far the eyes turn in"


def add_eye(iris: Iris, place: npt.ArrayLike, radius: float, side: int) -> None:
    """`place` in Blender's axes; `side` is 1 for the eye on the right of the picture, -1 for the other."""
    turned = (0, 0, math.radians(iris.converges_deg) * side)
    ball = bmesh.new()
    bmesh.ops.create_uvsphere(ball, u_segments=64, v_segments=48, radius=radius)
    for vertex in ball.verts:
        out = math.hypot(vertex.co.x, vertex.co.z)
        if vertex.co.y < 0 and out < iris.radius * radius:
            vertex.co.y += 0.10 * radius * (1 - (out / (iris.radius * radius)) ** 2)
    mesh_object("eye", ball, _iris_material(iris, radius), place).rotation_euler = turned
    cover = bmesh.new()
    bmesh.ops.create_uvsphere(cover, u_segments=48, v_segments=32, radius=radius * 1.012)
    for vertex in cover.verts:
        out = math.hypot(vertex.co.x, vertex.co.z) / radius
        if vertex.co.y < 0 and out < 0.6:
            vertex.co.y -= radius * 0.07 * (1 - (out / 0.6) ** 2) ** 2
    cornea = mesh_object("cornea", cover, _clear(), place)
    cornea.rotation_euler, cornea.visible_shadow = turned, False


def _iris_material(iris: Iris, radius: float) -> Thing:
    material = plain("eye", "ffffff", 0.25, Specular_IOR_Level=0.3)
    tree = material.node_tree
    nodes, links = tree.nodes, tree.links
    place, apart, flat = (nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "SeparateXYZ", "CombineXYZ"))
    links.new(place.outputs["Object"], apart.inputs[0])
    links.new(apart.outputs[0], flat.inputs[0])
    links.new(apart.outputs[2], flat.inputs[1])
    length, out = nodes.new("ShaderNodeVectorMath"), nodes.new("ShaderNodeMath")
    length.operation, out.operation = "LENGTH", "DIVIDE"
    links.new(flat.outputs[0], length.inputs[0])
    links.new(length.outputs["Value"], out.inputs[0])
    out.inputs[1].default_value = radius
    ramp = nodes.new("ShaderNodeValToRGB")
    links.new(out.outputs[0], ramp.inputs[0])
    rings = ramp.color_ramp.elements
    rings.remove(rings[0])
    edge = iris.radius
    stops = (
        (0.0, "050505"),
        (iris.pupil - 0.02, "050505"),
        (iris.pupil + 0.015, iris.inner),
        (edge * 0.72, iris.middle),
        (edge - 0.05, iris.rim),
        (edge - 0.005, iris.rim),
        (edge + 0.03, "e9e3df"),
        (0.80, "ead9d4"),
        (1.0, "d9a79c"),
    )
    rings[0].position, rings[0].color = stops[0][0], linear(stops[0][1])
    for position, colour in stops[1:]:
        rings.new(position).color = linear(colour)
    shaded = nodes.new("ShaderNodeVectorMath")
    shaded.operation = "SCALE"
    links.new(ramp.outputs[0], shaded.inputs[0])
    links.new(_fibres(tree, apart, out, radius, edge), shaded.inputs["Scale"])
    links.new(shaded.outputs[0], nodes["Principled BSDF"].inputs["Base Color"])
    return material


def _fibres(tree: Thing, apart: Thing, out: Thing, radius: float, edge: float) -> Thing:
    """How light the iris is, ray by ray; 1 outside of it."""
    nodes, links = tree.nodes, tree.links
    angle, polar, noise = (nodes.new(f"ShaderNode{kind}") for kind in ("Math", "CombineXYZ", "TexNoise"))
    angle.operation = "ARCTAN2"
    links.new(apart.outputs[0], angle.inputs[0])
    links.new(apart.outputs[2], angle.inputs[1])
    links.new(angle.outputs[0], polar.inputs[0])
    links.new(out.outputs[0], polar.inputs[1])
    noise.inputs["Scale"].default_value = 3.92 / radius
    links.new(polar.outputs[0], noise.inputs["Vector"])
    light = nodes.new("ShaderNodeMapRange")
    links.new(noise.outputs[0], light.inputs[0])
    for place, value in enumerate((0.3, 0.7, 0.75, 1.15), start=1):
        light.inputs[place].default_value = value
    within, chosen = nodes.new("ShaderNodeMath"), nodes.new("ShaderNodeMix")
    within.operation, within.inputs[1].default_value = "LESS_THAN", edge
    links.new(out.outputs[0], within.inputs[0])
    links.new(within.outputs[0], chosen.inputs[0])
    chosen.inputs[2].default_value = 1
    links.new(light.outputs[0], chosen.inputs[3])
    return chosen.outputs[0]


def _clear() -> Thing:
    material = bpy.data.materials.new("cornea")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    kinds = ("BsdfTransparent", "BsdfGlossy", "Fresnel", "MixShader", "OutputMaterial")
    through, shine, share, mixed, out = (tree.nodes.new(f"ShaderNode{kind}") for kind in kinds)
    shine.inputs["Roughness"].default_value = 0.04
    share.inputs[0].default_value = 1.38
    tree.links.new(share.outputs[0], mixed.inputs[0])
    tree.links.new(through.outputs[0], mixed.inputs[1])
    tree.links.new(shine.outputs[0], mixed.inputs[2])
    tree.links.new(mixed.outputs[0], out.inputs[0])
    return material
