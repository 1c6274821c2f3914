"""X-ray geometry, rendering and image similarity for the registration and reconstruction bundles.

Detector images are tensors (B, C, rows, columns), unlike the (C, X, Y) of the rest of the project.
"""

from .attenuation import hu_to_attenuation, linear_attenuation, log_image, transmission, with_quantum_noise
from .conventions import DiffdrrCamera, from_diffdrr, to_diffdrr
from .geometry import (
    Detector,
    invert_rigid,
    pixels_to_world,
    project_points,
    projection_matrix,
    ray_frame,
    ray_frame_in_voxels,
)
from .pose import double_geodesic, euler_to_matrix, euler_to_pose, matrix_to_euler, pose_to_euler, se3_exp, se3_log
from .rendering import BACKENDS, render
from .similarity import (
    gradient_ncc,
    mean_squared_error,
    multiscale_ncc,
    mutual_information,
    ncc,
    patch_ncc,
    structural_similarity,
)

__all__ = [
    "BACKENDS",
    "Detector",
    "DiffdrrCamera",
    "double_geodesic",
    "euler_to_matrix",
    "euler_to_pose",
    "from_diffdrr",
    "gradient_ncc",
    "hu_to_attenuation",
    "invert_rigid",
    "linear_attenuation",
    "log_image",
    "matrix_to_euler",
    "mean_squared_error",
    "multiscale_ncc",
    "mutual_information",
    "ncc",
    "patch_ncc",
    "pixels_to_world",
    "pose_to_euler",
    "project_points",
    "projection_matrix",
    "ray_frame",
    "ray_frame_in_voxels",
    "render",
    "se3_exp",
    "se3_log",
    "structural_similarity",
    "to_diffdrr",
    "transmission",
    "with_quantum_noise",
]
