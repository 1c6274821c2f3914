"""What a registration writes: pose, parameters, pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from .patient import PatientModel, render_patient
from .pose_file import pose_content
from .register import Registration
from .shared.io.atomic import atomic_path
from .shared.io.file_names import image_stem
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture
from .simulate import write_png
from .views import RadiographView, view_poses

KNOWN = ("orientation", "pixel_size", "sdd_from", "absorbing", "c_arm_camera_to_world")  # of the first view
MAX_PICTURE = 1024  # longer side of the pictures


def unit_range(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Image (rows, columns) stretched to [0, 1] between its 0.5th and 99.5th percentile (inside the mask)."""
    values = image if mask is None or not bool((mask > 0).any()) else image[mask > 0]
    low, high = torch.quantile(values.float(), torch.tensor([0.005, 0.995], device=image.device))
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).cpu()


def overlay(measured: Tensor, rendered: Tensor, mask: Tensor, title: str) -> Figure:
    """X-ray, rendering, and both in red and cyan (grey where they agree).

    Args:
        measured: (rows, columns) in [0, 1].
        rendered: the same.
        mask: (rows, columns), what counts; the rest of the third picture stays light grey.
        title: of the whole.
    """
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    colour = torch.stack([measured, rendered, rendered], dim=-1)
    colour[mask <= 0] = 0.85
    for axes, (name, image) in zip(
        figure.subplots(1, 3),
        {"X-ray": measured, "rendering at the found pose": rendered, "X-ray red, rendering cyan": colour}.items(),
        strict=True,
    ):
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure


class SaveRegistration(Transform):
    """Writes the result of a case into ``<output_dir>/<case>/`` and, beside it, ``<case>_pose.json``.

    In the folder: ``parameters.pt`` (tensors only), ``gt.png`` (the X-ray), ``init_image.png`` and ``final_img.png``
    (renderings at the first and the last pose), ``preview.png``; of further views the same with ``_view1`` and so on.
    ``pred`` becomes the final rendering, (1, columns, rows) on the grid of the X-ray.

    Args:
        patient: the CT.
        output_dir: folder.
        backend: of the renderer.
    """

    def __init__(self, patient: PatientModel, output_dir: str, backend: str | None = None) -> None:
        self.patient, self.output_dir, self.renderer = patient, Path(output_dir), backend

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result: Registration = data["pred"]
        image: MetaTensor = data["image"]
        views: list[RadiographView] = image.meta["views"]
        intake: list[dict[str, Any]] = image.meta["intake"]
        case = str(data.get("case", "case"))
        folder = self.output_dir / case
        finals = view_poses(result.camera_to_world[None], views)
        firsts = view_poses(result.initial_camera_to_world[None], views)
        pictures = []
        for number, (view, first, final) in enumerate(zip(views, firsts, finals, strict=True)):
            suffix = f"_view{number}" if number else ""
            shown = view.reduced(max(1.0, max(view.image.shape[-2:]) / MAX_PICTURE))
            mask = shown.mask[0, 0]
            images = [shown.image[0, 0]]
            for pose in (first, final):
                images.append(render_patient(self.patient, pose, shown.detector, self.renderer)[0, 0])
            measured, initial, rendered = (unit_range(one.cpu(), mask.cpu()) for one in images)
            for name, picture in (("gt", measured), ("init_image", initial), ("final_img", rendered)):
                write_png(picture, folder / f"{name}{suffix}.png")
            save_picture(
                overlay(measured, rendered, mask.cpu(), self.title(case, result)), folder / f"preview{suffix}.png"
            )
            pictures.append(rendered)
        with atomic_path(folder / "parameters.pt") as path:
            torch.save(parameter_file(result, views, self.patient), path)
        more = {
            "similarity": result.confidence.figures["similarity"],
            "start": result.start,
            "confidence": result.confidence.to_dict(),
            **{name: intake[0][name] for name in KNOWN},
            "warnings": [line for view in intake for line in view["warnings"]] + result.confidence.reasons,
            "ct": self.patient.path,
            "initial_camera_to_world": result.initial_camera_to_world.tolist(),
        }
        if len(views) > 1:
            more["views"] = [
                pose_content(image_stem(Path(path)), pose[0], view.detector, **known)
                for path, pose, view, known in zip(image.meta["paths"], finals, views, intake, strict=True)
            ]
        content = pose_content(case, result.camera_to_world, views[0].detector, **more)
        write_json(self.output_dir / f"{case}_pose.json", content)
        drawn = MetaTensor(pictures[0].mT[None].contiguous(), meta={"filename_or_obj": f"{case}.png"})
        return {**data, "pred": drawn}

    @staticmethod
    def title(case: str, result: Registration) -> str:
        verdict = "accepted" if result.confidence.accepted else "REJECTED: " + "; ".join(result.confidence.reasons)
        return f"{case}: similarity {result.confidence.figures['similarity']:.3f}, {verdict}"


def parameter_file(result: Registration, views: list[RadiographView], patient: PatientModel) -> dict[str, Tensor]:
    """Content of ``parameters.pt``: tensors only, float64, lengths in mm, angles in rad."""
    return {
        "camera_to_world": result.camera_to_world,
        "initial_camera_to_world": result.initial_camera_to_world,
        "parameters": result.parameters,
        "isocenter": patient.isocenter,
        "intrinsics": torch.stack([view.detector.intrinsics() for view in views]),
        "detector": torch.tensor(
            [[d.rows, d.columns, *d.pixel_mm, d.sdd, *d.offset_mm] for d in (view.detector for view in views)],
            dtype=torch.float64,
        ),
        "camera_to_first": torch.stack([view.camera_to_first for view in views]),
        "trajectory": torch.stack(result.trajectory.parameters),
        "trajectory_similarity": torch.tensor(result.trajectory.similarity, dtype=torch.float64),
        "trajectory_factor": torch.tensor(result.trajectory.factor, dtype=torch.float64),
        "trajectory_poses": result.trajectory_poses,
        "similarity": torch.tensor(result.similarity, dtype=torch.float64),
        "accepted": torch.tensor(result.confidence.accepted),
        "seconds": torch.tensor(result.seconds, dtype=torch.float64),
    }
