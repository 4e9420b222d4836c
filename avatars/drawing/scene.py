"""A Blender scene for one portrait: materials, light, backdrop, camera, and rendering with Cycles on the CPU.

Blender's axes: x to the right in the picture, y away from the camera, z up. Places are arrays (..., 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Vector

__all__ = [
    "Array",
    "Border",
    "Thing",
    "add",
    "area_light",
    "backdrop",
    "blend",
    "camera",
    "linear",
    "mesh_object",
    "new_scene",
    "plain",
    "render",
    "smooth_shaded",
    "spot",
    "tube",
]

Array = npt.NDArray[np.float64]
Border = tuple[float, float, float, float]
"left, bottom, right, top of what is rendered, in parts of the picture, counted from its lower left corner"

Thing: TypeAlias = Any
"what is Blender's: a mesh, a material, its tree of nodes, an output of one, an object. Blender publishes no types"

LOOK = "AgX - Medium High Contrast"


def new_scene() -> None:
    """Forget everything that was modelled."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


def linear(colour: str) -> tuple[float, float, float, float]:
    """An sRGB colour as six hex digits -> linear RGBA, as Blender calculates."""
    levels = (int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels)
    return red, green, blue, 1.0


def add(name: str, data: Thing, place: npt.ArrayLike = (0, 0, 0)) -> Thing:
    """A new object in the scene."""
    thing = bpy.data.objects.new(name, data)
    bpy.context.collection.objects.link(thing)
    thing.location = place
    return thing


def smooth_shaded(mesh: Thing) -> None:
    mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))


def mesh_object(name: str, shape: Thing, material: Thing, place: npt.ArrayLike = (0, 0, 0)) -> Thing:
    """A `bmesh` as a smooth object. It is used up."""
    mesh = bpy.data.meshes.new(name)
    shape.to_mesh(mesh)
    shape.free()
    smooth_shaded(mesh)
    mesh.materials.append(material)
    return add(name, mesh, place)


def plain(name: str, colour: str, roughness: float, **inputs: float) -> Thing:
    """A Principled material. `inputs` are its other inputs, with underscores for spaces."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = linear(colour)
    shader.inputs["Roughness"].default_value = roughness
    for key, value in inputs.items():
        shader.inputs[key.replace("_", " ")].default_value = value
    return material


def spot(tree: Thing, centre: npt.ArrayLike, radii: tuple[float, float, float], strength: float) -> Thing:
    """A soft ellipsoid in space: a node's output that is `strength` in its middle and 0 outside."""
    nodes, links = tree.nodes, tree.links
    geometry = nodes.new("ShaderNodeNewGeometry")
    away, scaled, length = (nodes.new("ShaderNodeVectorMath") for _ in range(3))
    away.operation, scaled.operation, length.operation = "SUBTRACT", "DIVIDE", "LENGTH"
    links.new(geometry.outputs["Position"], away.inputs[0])
    away.inputs[1].default_value = centre
    links.new(away.outputs[0], scaled.inputs[0])
    scaled.inputs[1].default_value = radii
    links.new(scaled.outputs[0], length.inputs[0])
    fall = nodes.new("ShaderNodeMapRange")
    fall.interpolation_type = "SMOOTHERSTEP"
    links.new(length.outputs["Value"], fall.inputs[0])
    for place, value in enumerate((1.0, 0.0, 0.0, strength), start=1):
        fall.inputs[place].default_value = value
    return fall.outputs[0]


def blend(tree: Thing, share: Thing, colour: Thing | str, over: str) -> Thing:
    """A node's output: `colour` (another output, or six hex digits) with a share of `over` on it."""
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    tree.links.new(share, mix.inputs[0])
    if isinstance(colour, str):
        mix.inputs[6].default_value = linear(colour)
    else:
        tree.links.new(colour, mix.inputs[6])
    mix.inputs[7].default_value = linear(over)
    return mix.outputs[2]


def tube(
    name: str,
    places: Array | Sequence[Sequence[float]],
    radius: float,
    material: Thing,
    taper: Array | Sequence[float] | None = None,
    *,
    closed: bool = False,
) -> Thing:
    """A round rod along `places`; `taper` has the part of the radius at each."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions = "3D"
    line = curve.splines.new("POLY")
    line.points.add(len(places) - 1)
    for index, (point, place) in enumerate(zip(line.points, places, strict=True)):
        point.co = (*place, 1)
        point.radius = 1 if taper is None else taper[index]
    line.use_cyclic_u = closed
    curve.bevel_depth, curve.bevel_resolution, curve.use_fill_caps = radius, 8, True
    curve.materials.append(material)
    return add(name, curve)


def area_light(
    place: tuple[float, float, float], size: float, watts: float, colour: tuple[float, float, float], aim: npt.ArrayLike
) -> None:
    """A square lamp that looks at `aim`."""
    lamp = bpy.data.lights.new("lamp", "AREA")
    lamp.energy, lamp.size, lamp.color = watts, size, colour
    thing = add("lamp", lamp, place)
    thing.rotation_euler = (Vector(aim) - Vector(place)).to_track_quat("-Z", "Y").to_euler()


def backdrop(middle: str, rim: str, sky: str) -> None:
    """A wall that is lighter behind the head, and a faint light from everywhere."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    light = world.node_tree.nodes["Background"]
    light.inputs[0].default_value, light.inputs[1].default_value = linear(sky), 0.35
    mesh = bpy.data.meshes.new("wall")
    mesh.from_pydata([(-60, 14, -60), (60, 14, -60), (60, 14, 60), (-60, 14, 60)], [], [[0, 1, 2, 3]])
    material = bpy.data.materials.new("wall")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    window, ramp = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeValToRGB")
    away, glow = tree.nodes.new("ShaderNodeVectorMath"), tree.nodes.new("ShaderNodeEmission")
    away.operation = "DISTANCE"
    away.inputs[1].default_value = (0.5, 0.55, 0)
    tree.links.new(window.outputs["Window"], away.inputs[0])
    tree.links.new(away.outputs["Value"], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], glow.inputs[0])
    tree.links.new(glow.outputs[0], tree.nodes.new("ShaderNodeOutputMaterial").inputs[0])
    inner, outer = ramp.color_ramp.elements
    inner.position, inner.color = 0.12, linear(middle)
    outer.position, outer.color = 0.78, linear(rim)
    mesh.materials.append(material)
    wall = add("wall", mesh)
    # The wall is seen and lights nothing, so its colour does not get into faces.
    wall.visible_diffuse = wall.visible_glossy = wall.visible_shadow = False


def camera(height: float, shown: float, distance: float) -> None:
    """Look level at `height`, with `shown` units from the lower to the upper border."""
    lens = bpy.data.cameras.new("camera")
    lens.sensor_width, lens.lens = 36, 36 * distance / shown
    thing = add("camera", lens, (0, -distance, height))
    thing.rotation_euler = (math.pi / 2, 0, 0)
    bpy.context.scene.camera = thing


def render(path: Path, side_px: int, samples: int, exposure: float, border: Border | None = None) -> None:
    """Write a square PNG. What is outside of `border` stays empty."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_denoising = "CPU", samples, True
    cycles.max_bounces, cycles.transparent_max_bounces = 6, 12
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.03
    scene.view_settings.view_transform, scene.view_settings.look = "AgX", LOOK
    scene.view_settings.exposure = exposure
    target = scene.render
    target.resolution_x = target.resolution_y = side_px
    target.image_settings.file_format, target.filepath = "PNG", str(path)
    if border is not None:
        target.use_border, target.use_crop_to_border = True, False
        target.border_min_x, target.border_min_y, target.border_max_x, target.border_max_y = border
    bpy.ops.render.render(write_still=True)
