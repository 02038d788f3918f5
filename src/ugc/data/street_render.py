"""Draws a street with MuJoCo: the photo, and from the same camera what every pixel shows."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ugc.core.errors import UserError
from ugc.data.street_looks import Floats, looks, noise
from ugc.data.street_meshes import meshes
from ugc.data.street_parts import SKY, Light, Street
from ugc.data.street_scene import street

Size = tuple[int, int]
Depth = NDArray[np.float32]
NEAR, FAR, MOST = 0.25, 600.0, 6000
VERSION = 1  # of the pixels: whatever changes them raises it


@dataclass(frozen=True)
class Frame:
    """photo uint8 [H, W, 3], labels uint8 [H, W] (Cityscapes' ids), instances uint16 [H, W] (id, or id * 1000 + n)."""

    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]


@contextlib.contextmanager
def renderer(size: Size) -> Iterator[Renderer]:
    """Something that draws frames of (H, W) pixels; one a process at a time.

    Raises:
        UserError: MuJoCo is not installed, or finds neither a GPU nor a software renderer.
    """
    if sys.platform == "linux":  # elsewhere MuJoCo knows best
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        import mujoco
    except Exception as problem:  # each backend has errors of its own, here and below
        if isinstance(problem, ModuleNotFoundError) and problem.name == "mujoco":
            raise UserError("streets needs MuJoCo: pip install 'ugc[streets]'") from None
        raise _no_renderer(problem) from None
    try:
        context = mujoco.GLContext(size[1], size[0])
        context.make_current()
    except Exception as problem:
        raise _no_renderer(problem) from None
    try:
        one = Renderer(mujoco, size)
        try:
            yield one
        finally:
            one.context.free()
    finally:
        context.free()


def _no_renderer(problem: Exception) -> UserError:
    why = (str(problem).splitlines() or [type(problem).__name__])[0]
    return UserError(f"MuJoCo cannot draw here with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} ({why}); expected egl, which "
                     "needs Debian's libegl1, or osmesa, which needs libosmesa6: install one, and set MUJOCO_GL to it")


class Renderer:
    """The library's textures and meshes in OpenGL's hands, and a scene that is filled anew for each frame."""

    def __init__(self, mujoco: Any, size: Size) -> None:
        self.mujoco, self.size = mujoco, size
        spec = library(mujoco)
        spec.visual.global_.offheight, spec.visual.global_.offwidth = size
        self.model = spec.compile()
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.context.shadowClip = 70.0
        self.scene = mujoco.MjvScene(self.model, maxgeom=MOST)
        self.looks = {self.model.material(i).name: i for i in range(self.model.nmat)}
        self.meshes = {self.model.mesh(i).name: i for i in range(self.model.nmesh)}
        kinds = mujoco.mjtGeom
        self.shapes = {
            "box": kinds.mjGEOM_BOX,
            "cylinder": kinds.mjGEOM_CYLINDER,
            "capsule": kinds.mjGEOM_CAPSULE,
            "ellipsoid": kinds.mjGEOM_ELLIPSOID,
        }

    def frame(self, seed: int, index: int) -> Frame:
        """The street of that number: the same pixels whenever it is drawn on this machine."""
        return self.draw(street(seed, index))

    def draw(self, what: Street) -> Frame:
        flags, flag = self.scene.flags, self.mujoco.mjtRndFlag
        self._fill(what)
        flags[:] = 0
        flags[flag.mjRND_SHADOW] = 1
        photo, depth = self._render()
        flags[:] = 0
        flags[flag.mjRND_SEGMENT] = flags[flag.mjRND_IDCOLOR] = 1
        ids, _ = self._render()
        number = ids.astype(np.int64) @ np.array([1, 256, 65536])  # 0 is the sky
        labels = np.array([SKY, *(solid.label for solid in what.solids)], np.uint8)[number]
        instances = np.array([SKY, *(solid.instance for solid in what.solids)], np.uint16)[number]
        return Frame(finished(photo, depth, labels == SKY, what), labels, instances)

    def _render(self) -> tuple[NDArray[np.uint8], Depth]:
        """Colours [H, W, 3] and depths [H, W], metres along the view; top row first."""
        height, width = self.size
        view = self.mujoco.MjrRect(0, 0, width, height)
        self.mujoco.mjr_render(view, self.scene, self.context)
        colours, depth = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
        self.mujoco.mjr_readPixels(colours, depth, view, self.context)
        metres: Depth = NEAR * FAR / (FAR - np.minimum(depth[::-1], 1 - 1e-6) * (FAR - NEAR))
        return colours[::-1], metres

    def _fill(self, what: Street) -> None:
        mujoco, scene = self.mujoco, self.scene
        scene.ngeom = 0
        for i, solid in enumerate(what.solids):
            geom = scene.geoms[i]
            turn, at, mesh = solid.turn, solid.at, self.meshes.get(solid.shape)
            kind = mujoco.mjtGeom.mjGEOM_MESH if mesh is not None else self.shapes[solid.shape]
            if mesh is not None:  # the compiler moved its vertices: x = R v + p
                moved = np.zeros(9)
                mujoco.mju_quat2Mat(moved, self.model.mesh_quat[mesh])
                scaled = turn * np.asarray(solid.size)
                turn, at = scaled @ moved.reshape(3, 3), at + scaled @ self.model.mesh_pos[mesh]
            mujoco.mjv_initGeom(
                geom,
                kind,
                np.asarray(solid.size, float),
                at,
                turn.ravel(),
                np.array([*solid.colour, solid.opacity], np.float32),
            )
            geom.segid = i
            geom.category = mujoco.mjtCatBit.mjCAT_STATIC
            geom.dataid = -1 if mesh is None else 2 * mesh
            geom.texcoord = mesh is not None
            geom.matid = self.looks[solid.look] if solid.look else -1
            geom.emission, geom.specular, geom.shininess, geom.reflectance = solid.glow, solid.shine, 0.6, 0.0
            scene.ngeom = i + 1
        self._light(what.light)
        self._camera(what)

    def _light(self, light: Light) -> None:
        """Two lights: the sun, and the sky's, which fills the shadows."""
        scene, directional = self.scene, self.mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        scene.nlight = 2
        fill = np.array([0.25, 0.15, -1.0])
        for one, direction, diffuse, ambient in (
            (scene.lights[0], light.direction, light.sun, np.zeros(3)),
            (scene.lights[1], fill / np.linalg.norm(fill), light.sky * 0.45, light.sky),
        ):
            one.type, one.dir, one.pos = directional, direction, np.array([42.0, 0, 0]) - direction * 80
            one.diffuse, one.ambient, one.specular = diffuse, ambient, diffuse * 0.5
            one.attenuation, one.cutoff, one.exponent, one.headlight = [1, 0, 0], 180, 0, 0
        scene.lights[0].castshadow, scene.lights[1].castshadow = light.shadows, False

    def _camera(self, what: Street) -> None:
        view = what.camera
        across, up = (NEAR * slope for slope in view.slopes(*self.size))
        for eye in self.scene.camera:
            eye.pos, eye.forward, eye.up = view.at, view.forward, view.up
            eye.frustum_near, eye.frustum_far = NEAR, FAR
            eye.frustum_center, eye.frustum_width = 0, across
            eye.frustum_top, eye.frustum_bottom = up, -up


def library(mujoco: Any) -> Any:
    """All meshes and looks as one model; a frame shows none of its bodies, since geometry comes from the street."""
    spec = mujoco.MjSpec()
    for name, look in looks().items():
        height, width = look.picture.shape[:2]
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3)
        texture.data = look.picture[::-1].tobytes()  # the first row of a texture is its lowest
        material = spec.add_material(name=name, texuniform=True, texrepeat=[2 / look.span[0], 2 / look.span[1]])
        names = list(material.textures)
        names[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.textures = names
    for name, mesh in meshes().items():
        spec.add_mesh(name=name, uservert=mesh.vertices.ravel(), userface=mesh.faces.ravel(), usertexcoord=mesh.uv.ravel(),
                      userfacetexcoord=mesh.faces.ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)
    quality = spec.visual.quality
    quality.shadowsize, quality.numslices, quality.numstacks, quality.numquads = 2048, 12, 6, 1
    return spec


def finished(photo: NDArray[np.uint8], depth: Depth, is_sky: NDArray[np.bool_], what: Street) -> NDArray[np.uint8]:
    """Sky, haze and exposure: what a camera sees between it and the street."""
    light = what.light
    sky = _sky(what, *photo.shape[:2])
    picture = photo.astype(np.float64) / 255
    share = np.exp(-np.maximum(depth - 8, 0) * light.haze)[:, :, None]
    picture = picture * share + light.horizon * (1 - share)
    picture = np.where(is_sky[:, :, None], sky, picture) * light.exposure
    picture = picture / (1 + 0.18 * picture) * 1.18  # highlights roll off
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _sky(what: Street, height: int, width: int) -> Floats:
    """Colours of the sky in every direction of the picture: from the horizon to the zenith, clouds, the sun's glow."""
    light, view = what.light, what.camera
    across, up = view.slopes(height, width)
    x = (2 * (np.arange(width) + 0.5) / width - 1) * across
    y = (1 - 2 * (np.arange(height) + 0.5) / height) * up
    right = np.cross(view.forward, view.up)
    ray = view.forward + y[:, None, None] * view.up + x[None, :, None] * right
    ray /= np.linalg.norm(ray, axis=2, keepdims=True)
    rise = np.maximum(ray[:, :, 2], 0.0)
    mix = (1 - (1 - np.minimum(rise * 1.6, 1)) ** 2)[:, :, None]
    colour = light.horizon * (1 - mix) + light.zenith * mix
    field = noise(what.rng("clouds"), (512, 512), 5, 5, 0.55)
    plane = ray[:, :, :2] / (rise + 0.12)[:, :, None] * 60 + 256
    cloud = field[plane[:, :, 0].astype(int) % 512, plane[:, :, 1].astype(int) % 512]
    cover = np.clip((cloud - 1 + light.cloud) * 5, 0, 1)[:, :, None] * np.minimum(rise * 5, 1)[:, :, None]
    colour = colour * (1 - cover) + light.cloud_colour * (0.86 + 0.3 * (cloud[:, :, None] - 0.5)) * cover
    glow = np.maximum(ray @ -light.direction, 0)[:, :, None]
    return np.asarray(colour + light.sun * (0.25 * glow**8 + 0.5 * glow**120) * light.shadows)
