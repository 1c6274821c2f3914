"""Projected thickness of bones and soft tissue, from analytic solids: the drawing primitives of the hand phantom.

Images are (X, Y) arrays. Points are (x, y) pixels with pixel centres at integers, sizes are mm and `scale` is pixels
per mm. A bone is a shell of compact bone around sparser cancellous bone; each primitive adds its projected amount of
bone (mm of compact bone along the ray), so that overlapping bones sum as in a radiograph.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class BoneCanvas:
    """Where bones are drawn: `bone` (X, Y) accumulates mm, `texture` (X, Y) is zero-mean trabecular noise."""

    bone: np.ndarray
    texture: np.ndarray
    scale: float

    def window(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice] | None:
        """Slices that cover the box from `low` to `high` (pixels), or None where it misses the image."""
        start = np.maximum(np.floor(low).astype(int), 0)
        stop = np.minimum(np.ceil(high).astype(int) + 1, self.bone.shape)
        if np.any(stop <= start):
            return None
        return slice(start[0], stop[0]), slice(start[1], stop[1])


@dataclass(frozen=True)
class GrowthPlate:
    """Cartilage gap across a bone: `depth_mm` inside its end, relative loss of bone `openness` (negative: a scar)."""

    depth_mm: float
    openness: float
    width_mm: float


@dataclass(frozen=True)
class TubularBone:
    """A long bone from `start` (proximal) to `end`, both on its surface, in pixels.

    Attributes:
        stations: relative positions along the axis, 0 to 1, increasing.
        half_width: half widths in mm at the stations.
        start_sagitta: mm by which the proximal surface bulges (positive) or is hollow (negative) at its centre.
        end_sagitta: the same for the distal surface.
        start_slope: slope of the proximal surface across the bone (mm along the axis per mm to the thumb side).
        rounding: mm over which the ends round off, proximal and distal.
        cortex_mm: wall thickness in the middle of the shaft.
        cancellous: density inside the shell relative to compact bone, shaft and ends.
        flatness: depth of the cross-section relative to its width.
        bow_mm: sideways bow of the axis in its middle, positive to the thumb side of a left hand.
        start_plate, end_plate: growth plates near the two ends.
    """

    start: np.ndarray
    end: np.ndarray
    stations: tuple[float, ...]
    half_width: tuple[float, ...]
    start_sagitta: float = 0.0
    end_sagitta: float = 0.0
    start_slope: float = 0.0
    rounding: tuple[float, float] = (1.5, 2.0)
    cortex_mm: float = 1.5
    cancellous: tuple[float, float] = (0.25, 0.5)
    flatness: float = 0.8
    bow_mm: float = 0.0
    start_plate: GrowthPlate | None = None
    end_plate: GrowthPlate | None = None


def _half_ellipse(depth: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    """Height (0..1) of a quarter ellipse `depth` inside its edge, 1 beyond `radius`, 0 outside."""
    inside = np.clip(depth / radius, 0.0, 1.0)
    return np.sqrt(inside * (2.0 - inside))


def _plate_factor(depth: np.ndarray, across: np.ndarray, plate: GrowthPlate | None) -> np.ndarray | float:
    """Factor on the bone around a growth plate, with a faint dense line on both sides of an open one."""
    if plate is None:
        return 1.0
    undulation = 0.15 * np.sin(0.6 * across) + 0.08 * np.sin(1.7 * across + 1.0)
    distance = (depth - plate.depth_mm - undulation) / plate.width_mm
    gap = np.exp(-(distance**2))
    rim = np.exp(-((np.abs(distance) - 1.8) ** 2) * 2.0)
    return 1.0 - plate.openness * gap + 0.25 * abs(plate.openness) * rim


def add_tubular_bone(canvas: BoneCanvas, bone: TubularBone) -> None:
    """Add the projection of a hollow, waisted tube with elliptic section."""
    axis = bone.end - bone.start
    length = float(np.linalg.norm(axis)) / canvas.scale
    along, across = axis / np.linalg.norm(axis), np.array([-axis[1], axis[0]]) / np.linalg.norm(axis)
    pad = (max(bone.half_width) + abs(bone.bow_mm) + 3.0) * canvas.scale
    window = canvas.window(np.minimum(bone.start, bone.end) - pad, np.maximum(bone.start, bone.end) + pad)
    if window is None:
        return
    dx = (np.arange(window[0].start, window[0].stop) - bone.start[0])[:, None] / canvas.scale
    dy = (np.arange(window[1].start, window[1].stop) - bone.start[1])[None, :] / canvas.scale
    u = dx * along[0] + dy * along[1]
    t = np.clip(u / length, 0.0, 1.0)
    v = dx * across[0] + dy * across[1] - bone.bow_mm * 4.0 * t * (1.0 - t)

    table = np.linspace(0.0, 1.0, 65)
    half = np.interp(t, table, PchipInterpolator(bone.stations, bone.half_width)(table))
    middle = 1.0 - np.abs(2.0 * t - 1.0) ** 2.5
    cortex = 0.45 + (bone.cortex_mm - 0.45) * middle
    relative = np.clip(np.abs(v) / half, 0.0, 1.3) ** 2
    from_start = u - bone.start_slope * v - bone.start_sagitta * relative
    from_end = length - u - bone.end_sagitta * relative
    cancellous = bone.cancellous[1] + (bone.cancellous[0] - bone.cancellous[1]) * middle

    def solid(inset: np.ndarray | float) -> np.ndarray:
        """Chord through the solid whose surface lies `inset` mm below that of the bone."""
        ends = _half_ellipse(from_start - inset, bone.rounding[0]) * _half_ellipse(from_end - inset, bone.rounding[1])
        width = np.maximum(half * (1.0 - 0.3 * (1.0 - ends)) - inset, 0.05)
        chord = 2.0 * bone.flatness * width * np.sqrt(np.clip(1.0 - (v / width) ** 2, 0.0, None))
        return chord * (0.5 + 0.5 * ends) * (ends > 0)

    inner = solid(cortex)
    amount = solid(0.0) - inner * (1.0 - cancellous * (1.0 + canvas.texture[window]))
    amount *= _plate_factor(from_start, v, bone.start_plate) * _plate_factor(from_end, v, bone.end_plate)
    canvas.bone[window] += amount


def closed_curve(points: np.ndarray, spacing: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Smooth closed curve through (N, 2) pixels: dense points about `spacing` pixels apart and outward unit normals."""
    ring = np.vstack([points, points[:1]])
    steps = np.linalg.norm(np.diff(ring, axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(steps))])  # centripetal: no loops at uneven steps
    spline = CubicSpline(knots, ring, bc_type="periodic")
    samples = np.linspace(0.0, knots[-1], max(16, int(steps.sum() / spacing)), endpoint=False)
    curve, tangent = spline(samples), spline(samples, 1)
    normals = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    x, y = curve.T
    area = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    return curve, np.sign(area) * normals / np.linalg.norm(normals, axis=1, keepdims=True)


def depth_inside(window: tuple[slice, slice], curve: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Signed distance in pixels to a closed curve, positive inside, on the pixels of `window`."""
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in window), indexing="ij"), axis=-1)
    pixels = grid.reshape(-1, 2)
    distance, nearest = cKDTree(curve).query(pixels)
    outward = np.sum((pixels - curve[nearest]) * normals[nearest], axis=1)
    return np.where(outward > 0, -distance, distance).reshape(grid.shape[:2])


def add_flat_bone(
    canvas: BoneCanvas,
    outline: np.ndarray,
    radius_mm: float,
    cortex_mm: float = 0.8,
    cancellous: float = 0.5,
    depth_mm: float | None = None,
    plate: tuple[np.ndarray, GrowthPlate] | None = None,
) -> None:
    """Add a solid of given outline (N, 2) pixels whose edge rounds off over `radius_mm` to `depth_mm` of thickness.

    Args:
        plate: end points (2, 2) in pixels of a growth plate, and its look with `depth_mm` measured from that line.
    """
    curve, normals = closed_curve(outline)
    window = canvas.window(curve.min(axis=0), curve.max(axis=0))
    if window is None:
        return
    depth = depth_inside(window, curve, normals) / canvas.scale
    thickness = 1.6 * radius_mm if depth_mm is None else depth_mm
    inner_radius = radius_mm - cortex_mm
    inner = thickness * inner_radius / radius_mm * _half_ellipse(depth - cortex_mm, inner_radius)
    amount = thickness * _half_ellipse(depth, radius_mm) - inner * (1.0 - cancellous * (1.0 + canvas.texture[window]))
    if plate is not None:
        ends, look = plate
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        dx = (np.arange(window[0].start, window[0].stop) - ends[0, 0])[:, None] / canvas.scale
        dy = (np.arange(window[1].start, window[1].stop) - ends[0, 1])[None, :] / canvas.scale
        offset = dy * along[0] - dx * along[1]
        amount *= _plate_factor(offset, dx * along[0] + dy * along[1], look)
    canvas.bone[window] += amount


def add_line(canvas: BoneCanvas, points: np.ndarray, width_mm: float, amount: float) -> None:
    """Add a dense line (articular surface seen on edge) through (N, 2) pixels; `amount` mm of bone at its centre."""
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1)))])
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    positions = np.linspace(0.0, 1.0, max(8, int(length * 2)))
    curve = CubicSpline(knots, points)(positions * knots[-1])
    pad = 2.5 * width_mm * canvas.scale
    window = canvas.window(curve.min(axis=0) - pad, curve.max(axis=0) + pad)
    if window is None:
        return
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in window), indexing="ij"), axis=-1)
    distance, nearest = cKDTree(curve).query(grid.reshape(-1, 2))
    fade = np.sqrt(np.sin(np.pi * np.clip(positions, 0.01, 0.99)))[nearest]
    profile = fade * np.exp(-((distance / (width_mm * canvas.scale)) ** 2))
    canvas.bone[window] += amount * profile.reshape(grid.shape[:2])


def capsule_chain_thickness(shape: tuple[int, int], joints: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Chord (pixels) through tapered round limbs: (N, 2) axis points, (N,) radii in pixels, on a (X, Y) grid."""
    thickness = np.zeros(shape, dtype=np.float64)
    for a, b, radius_a, radius_b in zip(joints[:-1], joints[1:], radii[:-1], radii[1:], strict=True):
        pad = max(radius_a, radius_b)
        low = np.maximum(np.floor(np.minimum(a, b) - pad).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(a, b) + pad).astype(int) + 1, shape)
        if np.any(high <= low):
            continue
        dx = (np.arange(low[0], high[0]) - a[0])[:, None]
        dy = (np.arange(low[1], high[1]) - a[1])[None, :]
        axis = b - a
        t = np.clip((dx * axis[0] + dy * axis[1]) / (axis @ axis), 0.0, 1.0)
        squared = (dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2
        chord = 2.0 * np.sqrt(np.clip((radius_a + t * (radius_b - radius_a)) ** 2 - squared, 0.0, None))
        target = thickness[low[0] : high[0], low[1] : high[1]]
        np.maximum(target, chord, out=target)
    return thickness


def slab_thickness(mask: np.ndarray, radius: float, thickness: float) -> np.ndarray:
    """Thickness of a slab with outline `mask` (X, Y) whose edge rounds off over `radius` pixels."""
    return thickness * _half_ellipse(distance_transform_edt(mask), radius)
