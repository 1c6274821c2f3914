"""Search for one bone in all views, over all rotations or those about a start.

For each rotation the bone is rendered once per view, and its shadow is slid over the X-ray: how well it explains the
gradients around it is then known for every place. Points of space are seen at one place in each view; those where the
views together agree best are kept. So the search needs neither a start nor a range of positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter
from torch import Tensor

from .patient import PatientModel, render_patient
from .shared.drr.geometry import Detector, invert_rigid, pixels_to_world, project_points
from .shared.drr.similarity import gradient_images
from .shared.geometry.frames import transform_points
from .silhouette import shadow
from .views import RadiographView

OBJECT_PX = 30  # longest side of the bone's shadow during the search
WINDOW_PX = OBJECT_PX + 9  # odd: its middle is a pixel
CONTRAST_PX = 3.0  # Gaussian over which contrast is made even
STEP_DEG = 13.0  # between neighbouring rotations
DEPTH_SHARE = 0.1  # of the distance: how far before and behind the middle the bone may lie
DEPTH_STEP_PX = 2.0  # between depths, in pixels of the search
PLACES = 300  # in the first view that are looked up in the others
APART_DEG = 25.0  # rotations that are nearer count as one
APART_SHARE = 0.4  # of the bone's size: places, likewise
NEVER = 1e6
SEEN = 0.8  # of the surroundings of the shadow
BATCH = 48


def rotations(step_deg: float) -> Tensor:
    """Rotations (N, 3, 3) spread evenly over all of them, neighbours about ``step_deg`` apart.

    Reference: Alexa, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)", CVPR 2022.
    """
    count = math.ceil(8 * math.pi**2 / math.radians(step_deg) ** 3)
    s = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = (s / count).sqrt(), (1 - s / count).sqrt()
    alpha, beta = 2 * math.pi * s / math.sqrt(2), 2 * math.pi * s / 1.533751168755204288118041
    x, y, z, w = inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()
    entries = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)


def meeting_point(views: Sequence[RadiographView], distance_mm: float) -> Tensor:
    """Point (3,) in the first camera's frame about which the bone is looked for.

    That is where the rays through the middles of the detectors come nearest to each other; for a single view, or
    parallel ones, the point of the first ray at ``distance_mm``.
    """
    total, right = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for view in views:
        d = view.detector
        middle = torch.tensor([[(d.columns - 1) / 2, (d.rows - 1) / 2]], dtype=torch.float64)
        source = view.camera_to_first[:3, 3]
        direction = pixels_to_world(middle, view.camera_to_first, d)[0, 0] - source
        direction = direction / direction.norm()
        across = torch.eye(3, dtype=torch.float64) - torch.outer(direction, direction)
        total, right = total + across, right + across @ source
        if len(views) == 1 or view is views[0]:
            fallback = source + distance_mm * direction
    if float(torch.linalg.eigvalsh(total)[0]) < 0.02:
        return fallback
    return torch.linalg.solve(total, right)


@dataclass(frozen=True)
class SearchPicture:
    """An X-ray prepared for sliding: the transforms of its gradients and of their squares.

    Attributes:
        view: reduced.
        spectra: (5, H, W) complex, of both gradients, their squares and the mask.
        size: of the transforms.
        floor: variance under which a place counts as empty.
    """

    view: RadiographView
    spectra: Tensor
    size: tuple[int, int]
    floor: float


def even_contrast(view: RadiographView) -> Tensor:
    """Image (1, 1, rows, columns) whose mean and contrast are about the same everywhere.

    Else the edge of the skin and the thickest parts would outweigh all bones.
    """

    def around(values: Tensor) -> Tensor:
        return torch.from_numpy(gaussian_filter(values.cpu().numpy(), (0, 0, CONTRAST_PX, CONTRAST_PX)))

    mask = view.mask.cpu()
    weight = around(mask) + 1e-3
    centred = mask * (view.image.cpu() - around(mask * view.image.cpu()) / weight)
    contrast = (around(centred**2) / weight).sqrt()
    return (centred / (contrast + 0.25 * contrast[mask > 0].mean())).to(view.image)


def prepare(view: RadiographView, window: int) -> SearchPicture:
    """`SearchPicture` of a view for templates of ``window`` pixels."""
    inside = view.mask[..., 1:-1, 1:-1]
    gradients = [inside * one for one in gradient_images(even_contrast(view))]
    rows, columns = gradients[0].shape[-2:]
    size = (next_fast_len(rows + window, real=True), next_fast_len(columns + window, real=True))
    stack = torch.cat([*gradients, *(one**2 for one in gradients), inside])[:, 0]
    floor = 0.05 * float(stack[2:4].mean() / stack[4].mean())
    return SearchPicture(view, torch.fft.rfft2(stack, size), size, floor)


def slide_shadows(rendered: Tensor, picture: SearchPicture) -> Tensor:
    """How well (B, rows, columns) shadows (B, 1, W, W) explain the gradients of an X-ray in their surroundings.

    That is the gain in log-likelihood of a Gaussian model, ``-n / 2 log(1 - r**2)`` with the correlation r and the
    number n of pixels: a small shadow, such as that of a long bone seen end-on, finds a high correlation somewhere by
    chance. Where less than `SEEN` of the surroundings are exposed, it is 0.
    Place (i, j) of the result is where the middle of the template lies on pixel (i, j) of the X-ray.
    """
    window = rendered.shape[-1]
    near = F.max_pool2d(shadow(rendered), 5, 1, 2)[..., 1:-1, 1:-1][:, 0]
    count = near.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    kernel = torch.fft.rfft2(near, picture.size).conj()
    total = torch.zeros((), dtype=rendered.dtype)
    for axis, gradient in enumerate(gradient_images(rendered)):
        inside = near * gradient[:, 0]
        centred = inside - near * inside.sum(dim=(-2, -1), keepdim=True) / count
        norm = (centred**2).sum(dim=(-2, -1), keepdim=True).clamp(min=1e-12)
        cross = torch.fft.irfft2(picture.spectra[axis] * torch.fft.rfft2(centred, picture.size).conj(), picture.size)
        mean = torch.fft.irfft2(picture.spectra[axis] * kernel, picture.size)
        square = torch.fft.irfft2(picture.spectra[2 + axis] * kernel, picture.size)
        variance = (square - mean**2 / count).clamp(min=picture.floor * count)
        total = total + cross / (norm * variance).sqrt() / 2
    total = -0.5 * count * torch.log1p(-(total.clamp(0, 0.999) ** 2))
    seen = torch.fft.irfft2(picture.spectra[4] * kernel, picture.size)
    total = total * (seen > SEEN * count)
    # a template whose first pixel lies on p has its middle on p + (window - 1) / 2; what wraps around lies outside
    middle = (window - 1) // 2
    rows, columns = picture.view.image.shape[-2:]
    return torch.roll(total, (middle, middle), dims=(-2, -1))[:, :rows, :columns]


def window_detector(view: RadiographView, point: Tensor, window: int) -> Detector:
    """Detector of ``window`` pixels, as fine as the view's, about a point (3,) of the first camera's frame."""
    d = view.detector
    u, v = project_points(point[None], view.camera_to_first, d)[0, 0].tolist()
    pu, pv = d.principal_point
    return Detector(window, window, d.pixel_mm, d.sdd, ((pu - u) * d.pixel_mm[0], (pv - v) * d.pixel_mm[1]))


def search_bone(
    patient: PatientModel,
    views: Sequence[RadiographView],
    distance_mm: float,
    keep: int = 24,
    about: Tensor | None = None,
    within_deg: float = 30.0,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Poses (keep, 4, 4) of the first camera that look best, and their gains (keep,), best first.

    Args:
        patient: the bone.
        views: all X-rays.
        distance_mm: of the bone from the source, for a single view.
        keep: how many.
        about: pose (4, 4); where given, only rotations near its own are tried, and places within the bone's size.
        within_deg: how near.
        backend: of the renderer.
    """
    turns = rotations(STEP_DEG)
    if about is not None:
        finer = rotations(0.7 * STEP_DEG)
        cosine = (torch.einsum("nij,ij->n", finer, torch.eye(3, dtype=torch.float64)) - 1) / 2
        turns = about[:3, :3] @ finer[cosine > math.cos(math.radians(within_deg))]
    point = meeting_point(views, distance_mm)
    if about is not None:
        inverse = invert_rigid(about)
        point = transform_points(inverse, patient.isocenter)
    depth = float(point[2])
    length = 2 * patient.extent_mm
    pictures = []
    for view in views:
        pixel = length * view.detector.sdd / depth / OBJECT_PX
        small = view.reduced(max(1.0, pixel / max(view.detector.pixel_mm)))
        pictures.append(prepare(small, WINDOW_PX))
    coarse = patient.coarser(0.7 * length / OBJECT_PX)
    first, detectors = pictures[0].view, [window_detector(p.view, point, WINDOW_PX) for p in pictures]
    # points of space behind every pixel of the first view, and the pixels of the others that see them
    rows, columns = first.image.shape[-2:]
    v, u = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    pixels = torch.stack([u.flatten(), v.flatten()], dim=-1).double()
    rays = pixels_to_world(pixels, torch.eye(4, dtype=torch.float64), first.detector)[0] / first.detector.sdd
    step = DEPTH_STEP_PX * first.detector.pixel_mm[0] * depth / first.detector.sdd
    reach = math.ceil(DEPTH_SHARE * depth / step) if len(views) > 1 else 0
    depths = depth + step * torch.arange(-reach, reach + 1, dtype=torch.float64)
    points = rays[:, None] * depths[:, None]
    tables = [pixels_seeing(points, picture.view) for picture in pictures[1:]]
    best, where = [], []
    for some in turns.split(BATCH):
        pose = camera_at(some, point[None], patient.isocenter)
        gains = []
        for picture, detector in zip(pictures, detectors, strict=True):
            images = render_patient(coarse, pose @ picture.view.camera_to_first, detector, backend)
            gains.append(slide_shadows(images, picture))
        value, place = gains[0].flatten(1).topk(min(PLACES, rows * columns))
        total = value[..., None].expand(-1, -1, len(depths)).clone()
        for table, gain in zip(tables, gains[1:], strict=True):
            # the best of the neighbours, because depths are known to a pixel or two
            around = F.max_pool2d(gain[:, None], 3, 1, 1).flatten(1)
            index = table[place]
            total += around.gather(1, index.clamp(min=0).flatten(1)).view_as(total) - NEVER * (index < 0)
        if about is not None:
            total -= NEVER * ((points[place] - point).norm(dim=-1) > patient.extent_mm)
        value, chosen = total.flatten(1).max(dim=1)
        best.append(value)
        where.append(points[place.gather(1, (chosen // len(depths))[:, None])[:, 0], chosen % len(depths)])
    values, found = torch.cat(best), torch.cat(where)
    order = values.argsort(descending=True)
    order = order[distinct(turns[order], found[order], keep, APART_SHARE * patient.extent_mm)]
    return camera_at(turns[order], found[order], patient.isocenter), values[order].double()


def distinct(turns: Tensor, points: Tensor, keep: int, apart_mm: float) -> Tensor:
    """Indices of at most ``keep`` poses, best first, none like a better one in rotation and place.

    Args:
        turns: (N, 3, 3), best first.
        points: (N, 3).
        keep: how many.
        apart_mm: places nearer than this are alike, with rotations nearer than `APART_DEG`.
    """
    free = torch.ones(len(turns), dtype=torch.bool)
    chosen: list[int] = []
    least = 1 + 2 * math.cos(math.radians(APART_DEG))
    while len(chosen) < keep and bool(free.any()):
        index = int(torch.nonzero(free)[0])
        chosen.append(index)
        near = (points - points[index]).norm(dim=-1) < apart_mm
        free &= ~(near & (torch.einsum("nij,ij->n", turns, turns[index]) > least))
        free[index] = False
    return torch.tensor(chosen)


def pixels_seeing(points: Tensor, view: RadiographView) -> Tensor:
    """Index of the pixel, row by row, at which a view sees points (P, D, 3) of the first camera's frame; else -1."""
    seen = project_points(points.flatten(0, 1), view.camera_to_first, view.detector)[0].nan_to_num(-9.0).round().long()
    rows, columns = view.image.shape[-2:]
    inside = (seen >= 0).all(dim=-1) & (seen[:, 0] < columns) & (seen[:, 1] < rows)
    return torch.where(inside, seen[:, 1] * columns + seen[:, 0], -1).view(points.shape[:2])


def camera_at(turns: Tensor, points: Tensor, isocenter: Tensor) -> Tensor:
    """Camera poses (B, 4, 4) with rotations (B, 3, 3) that see the isocentre at points (B or 1, 3) of their frame."""
    pose = torch.eye(4, dtype=torch.float64).repeat(len(turns), 1, 1)
    pose[:, :3, :3] = turns
    pose[:, :3, 3] = isocenter - (turns @ points[..., None])[..., 0]
    return pose
