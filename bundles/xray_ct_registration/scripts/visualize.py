"""The 3-D scene of a registration: patient, detector with the image, source; as a picture and as a page to turn it."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from PIL import Image
from skimage.measure import marching_cubes
from torch import Tensor

from .evaluation import read_gray
from .patient import PatientModel
from .render import case_of, read_result, render_quality, result_paths
from .results import unit_range
from .shared.drr.attenuation import hu_to_attenuation
from .shared.drr.geometry import Detector, pixels_to_world
from .shared.geometry.frames import transform_points
from .shared.io.atomic import atomic_path
from .shared.pictures.files import save_picture

VIEWER = Path(__file__).with_name("viewer.html")
SURFACES = {"skin": (-300.0, 8.0, (0.85, 0.68, 0.58, 0.25)), "bone": (250.0, 5.0, (0.95, 0.92, 0.84, 1.0))}
PICTURE_PX = 96  # longer side of the detector's image in the picture
PAGE_PX = 512  # the same in the page
MARGIN_MM = 40.0  # around everything in the picture


@dataclass(frozen=True)
class Mesh:
    """A surface.

    Attributes:
        vertices: (N, 3) float32 [RAS mm].
        triangles: (M, 3) int.
        colour: red, green, blue and opacity in 0..1.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    colour: tuple[float, float, float, float]


def surface(
    patient: PatientModel, hu: float, spacing_mm: float, colour: tuple[float, float, float, float]
) -> Mesh | None:
    """Surface of a patient at an HU value on voxels of about ``spacing_mm``; None where there is none."""
    coarse = patient.coarser(spacing_mm)
    level = float(hu_to_attenuation(torch.tensor([hu]))[0])
    volume = np.pad(coarse.attenuation[0].cpu().numpy(), 1)  # closed where the CT ends
    if not volume.min() < level < volume.max():
        return None
    vertices, triangles, _, _ = marching_cubes(volume, level)
    affine = coarse.affine.numpy()
    return Mesh((transform_points(affine, vertices - 1)).astype(np.float32), triangles, colour)


def detector_corners(pose: Tensor, detector: Detector) -> np.ndarray:
    """Corners (4, 3) [RAS mm] of the detector: top left, top right, bottom right, bottom left of the image."""
    right, bottom = detector.columns - 0.5, detector.rows - 0.5
    pixels = torch.tensor([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], dtype=torch.float64)
    return pixels_to_world(pixels, pose, detector)[0].numpy()


def draw_scene(meshes: list[Mesh], pose: Tensor, detector: Detector, image: Tensor, title: str) -> Figure:
    """Picture of the scene; ``image`` (rows, columns) in [0, 1] lies on the detector."""
    figure = Figure(figsize=(11, 6))
    axes = cast(Axes3D, figure.add_axes((0, 0, 1, 0.97), projection="3d", computed_zorder=False))
    corners, source = detector_corners(pose, detector), pose[:3, 3].numpy()
    small = torch.nn.functional.interpolate(
        image[None, None], scale_factor=min(1.0, PICTURE_PX / max(image.shape)), mode="bilinear", antialias=True
    )[0, 0].numpy()
    rows, columns = small.shape
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    plane = corners[0] + u[..., None] * (corners[1] - corners[0]) + v[..., None] * (corners[3] - corners[0])
    axes.plot_surface(
        *np.moveaxis(plane, -1, 0),
        facecolors=np.repeat(small[..., None], 3, axis=-1),
        rstride=1,
        cstride=1,
        shade=False,
    )
    for mesh in meshes:
        corners_of = mesh.vertices[mesh.triangles]
        axes.add_collection3d(Poly3DCollection(corners_of, facecolors=[mesh.colour], shade=True, linewidths=0))
    rays = [[source, corner] for corner in corners] + [[corners[k], corners[(k + 1) % 4]] for k in range(4)]
    axes.add_collection3d(Line3DCollection(rays, colors="tab:blue", linewidths=0.8, clip_on=False))
    axes.plot(*source[:, None], "o", color="tab:red", clip_on=False)
    axes.text(*(source + np.array([0.0, 0.0, 25.0])), "source", ha="center")
    points = np.concatenate([corners, source[None], *[mesh.vertices for mesh in meshes]])
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(high - low, zoom=1.3)
    axes.set(xlabel="right (R) in mm", ylabel="front (A) in mm", zlabel="head (S) in mm")
    axes.set_title(title, y=0.95)
    axes.view_init(elev=20, azim=35)
    return figure


def encoded(array: np.ndarray) -> str:
    """Base64 of an array's bytes, little endian."""
    return base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def page(meshes: list[Mesh], pose: Tensor, detector: Detector, image: Tensor, title: str) -> str:
    """One HTML file with everything in it; it needs a browser with WebGL and no network."""
    factor = min(1.0, PAGE_PX / max(image.shape))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    picture = Image.fromarray((image.numpy() * 255).astype(np.uint8)).resize(size)
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    scene = {
        "title": title,
        "source": pose[:3, 3].tolist(),
        "corners": detector_corners(pose, detector).tolist(),
        "image": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
        "meshes": [
            {
                "vertices": encoded(np.round(mesh.vertices * 10).astype(np.int16)),  # tenths of a millimetre
                "triangles": encoded(mesh.triangles.astype(np.uint32)),
                "colour": mesh.colour,
            }
            for mesh in meshes
        ],
    }
    # "</" inside a script would end it
    return VIEWER.read_text(encoding="utf-8").replace("/*SCENE*/null", json.dumps(scene).replace("</", "<\\/"))


def visualize_results(
    patient: PatientModel, dataset_dir: str | os.PathLike, output_dir: str | os.PathLike, backend: str | None = None
) -> list[Path]:
    """Write ``scene.png`` and ``scene.html`` of each result.

    Args:
        patient: the CT.
        dataset_dir: ``parameters.pt``, ``<case>_pose.json`` or a folder of results.
        output_dir: a folder per case is made in it.
        backend: of the renderer, used where the X-ray itself is not beside the result.

    Raises:
        CaseError: where a result cannot be read.
    """
    meshes = [mesh for values in SURFACES.values() if (mesh := surface(patient, *values)) is not None]
    written = []
    for path in result_paths(dataset_dir):
        pose, detector = read_result(path)
        xray = path.parent / "gt.png"
        if path.suffix == ".pt" and xray.is_file():
            image = read_gray(xray)[0, 0].clamp(0, 1)
        else:
            image = unit_range(render_quality(patient, pose, detector, 1, backend))
        folder, case = Path(output_dir) / case_of(path), case_of(path)
        save_picture(draw_scene(meshes[-1:], pose, detector, image, case), folder / "scene.png")
        with atomic_path(folder / "scene.html") as temporary:
            temporary.write_text(page(meshes, pose, detector, image, case), encoding="utf-8")
        written += [folder / "scene.png", folder / "scene.html"]
    return written
