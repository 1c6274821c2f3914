"""Training of the pose regressor on renderings of CTs at random poses."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from monai.transforms import MapTransform, Randomizable, Transform
from torch import Tensor, nn

from .augment import augment
from .network_io import decode, network_input
from .pose_space import PoseSpace
from .shared.drr.geometry import Detector, invert_rigid
from .shared.drr.pose import double_geodesic
from .shared.drr.similarity import multiscale_ncc
from .shared.evaluation.point_metrics import image_errors
from .shared.io.cases import find_cases
from .shared.training.seeding import mix_seed
from .subject import Subject, load_subject, render_subject


def ct_paths(dataset_dir: str | os.PathLike) -> list[str]:
    """CTs of a folder; label maps (``…_seg``, ``…_mask``) are left out.

    Raises:
        CaseError: where there is none.
    """
    paths = [case["image"] for case in find_cases(dataset_dir, "volume")]
    kept = [p for p in paths if not os.path.basename(p).split(".")[0].endswith(("_seg", "_mask"))]
    return kept or paths


def load_subjects(
    dataset_dir: str | os.PathLike, spacing_mm: float, device: torch.device, energy_kev: float = 70.0
) -> list[Subject]:
    """Subjects of all CTs in a folder, with voxels of about ``spacing_mm``, on a device."""
    return [load_subject(path, None, energy_kev).coarser(spacing_mm).to(device) for path in ct_paths(dataset_dir)]


def training_items(subjects: Sequence[Subject], samples_per_epoch: int) -> list[dict[str, Any]]:
    """Samples of an epoch: the subjects in turn; none where there is no subject."""
    if not subjects:
        return []
    return [{"subject": index % len(subjects), "case": f"sample_{index:05d}"} for index in range(samples_per_epoch)]


def validation_items(subjects: Sequence[Subject], space: PoseSpace, count: int, seed: int = 7) -> list[dict[str, Any]]:
    """``count`` fixed poses and appearances, of the subjects in turn."""
    poses = space.random(count, torch.Generator().manual_seed(seed))
    return [
        {
            "subject": index % len(subjects),
            "case": f"pose_{index:03d}",
            "parameters": poses[index],
            "seed": mix_seed(seed, index),
        }
        for index in range(count)
    ]


class RandPose(Randomizable, Transform):
    """Adds a random pose (``parameters``, (6,) float64) and a seed of the appearance to a sample.

    Args:
        space: from which poses are drawn.
    """

    def __init__(self, space: PoseSpace) -> None:
        self.space = space

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        seed = int(self.R.randint(0, 2**31 - 1))
        parameters = self.space.random(1, torch.Generator().manual_seed(seed))[0]
        return {**data, "parameters": parameters, "seed": seed}


class RenderBatch:
    """``prepare_batch`` of MONAI's engines: renders the poses of a batch on the device and makes X-rays of them.

    Args:
        subjects: the patients.
        space: of the poses.
        detector: of the network.
    """

    def __init__(self, subjects: Sequence[Subject], space: PoseSpace, detector: Detector) -> None:
        self.subjects, self.space, self.detector = subjects, space, detector

    def __call__(
        self, batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Input (B, 1, rows, columns) and targets: ``parameters`` (B, 6), ``subject`` (B,), ``clean`` renderings."""
        parameters = torch.as_tensor(batchdata["parameters"]).double()
        index = torch.as_tensor(batchdata["subject"])
        seeds = torch.as_tensor(batchdata["seed"])
        clean, images, masks = [], [], []
        for pose, number, seed in zip(parameters, index.tolist(), seeds.tolist(), strict=True):
            subject = self.subjects[number]
            with torch.no_grad():
                drr = render_subject(subject, self.space.to_pose(pose[None], subject.isocenter), self.detector)[0, 0]
            image, mask = augment(drr, torch.Generator().manual_seed(seed))
            clean.append(drr)
            images.append(image)
            masks.append(mask)
        image, mask = torch.stack(images)[:, None].to(device), torch.stack(masks)[:, None].to(device)
        inputs = network_input(image, mask, self.detector, self.detector)
        targets = {
            "parameters": parameters.to(device),
            "subject": index.to(device),
            "clean": torch.stack(clean)[:, None].to(device),
        }
        return inputs, targets


class PoseLoss(nn.Module):
    """1 - multiscale NCC of the renderings at the found and at the true pose + ``geodesic_weight`` · double geodesic.

    Args:
        subjects: the patients.
        space: of the poses.
        detector: of the network.
        geodesic_weight: per mm.
        image_weight: of the image term; 0 leaves out its renderings.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        space: PoseSpace,
        detector: Detector,
        geodesic_weight: float = 0.01,
        image_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.subjects, self.space, self.detector = subjects, space, detector
        self.geodesic_weight, self.image_weight = geodesic_weight, image_weight

    def forward(self, output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of outputs (B, 6) with the targets of `RenderBatch`."""
        found, losses = decode(output, self.space), []
        for index, number in enumerate(targets["subject"].tolist()):
            subject = self.subjects[number]
            pose = self.space.to_pose(found[index : index + 1], subject.isocenter)
            true = self.space.to_pose(targets["parameters"][index : index + 1], subject.isocenter)
            loss = self.geodesic_weight * double_geodesic(pose, true, self.detector.sdd, subject.isocenter)
            if self.image_weight:
                drr = render_subject(subject, pose, self.detector)
                similarity = multiscale_ncc(drr, targets["clean"][index : index + 1])
                loss = loss + self.image_weight * (1 - similarity)
            losses.append(loss.squeeze())
        return torch.stack(losses).mean().float()


class PosePointsd(MapTransform):
    """Adds the patient's targets as the found and as the true camera see them (``points``, ``reference``, (N, 3) mm).

    Their distances are the target registration errors.

    Args:
        keys: the network's output (6,).
        subjects: the patients.
        space: of the poses.
        detector: of the network; ``found_drr`` is rendered for it, to be looked at.
    """

    def __init__(self, keys: str, subjects: Sequence[Subject], space: PoseSpace, detector: Detector) -> None:
        super().__init__(keys)
        self.subjects, self.space, self.detector = subjects, space, detector

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            truth = {name: torch.as_tensor(value).detach().cpu() for name, value in result["label"].items()}
            subject = self.subjects[int(truth["subject"])]
            found = decode(torch.as_tensor(result[key]).detach().cpu()[None], self.space)
            result["points"] = in_camera(subject, self.space.to_pose(found, subject.isocenter)[0])
            true = self.space.to_pose(truth["parameters"].double()[None], subject.isocenter)[0]
            result["reference"] = in_camera(subject, true)
            result["mm"] = 1.0
            drr = render_subject(subject, self.space.to_pose(found, subject.isocenter), self.detector)
            result["found_drr"] = drr[0, 0].cpu()
        return result


def in_camera(subject: Subject, camera_to_world: Tensor) -> Tensor:
    """The patient's targets (N, 3) [mm] in the frame of a camera (4, 4)."""
    inverse = invert_rigid(camera_to_world)
    return subject.targets @ inverse[:3, :3].T + inverse[:3, 3]


def success_rate(errors: Tensor | np.ndarray, radius_mm: float) -> float:
    """Share of the images of a table of errors (N, K) [mm] whose mean (mTRE) is at most ``radius_mm``."""
    means = image_errors(errors)
    return float(np.mean(means <= radius_mm)) if len(means) else float("nan")


def median_mtre(errors: Tensor | np.ndarray) -> float:
    """Median over the images of a table of errors (N, K) [mm] of their mean (mTRE)."""
    means = image_errors(errors)
    return float(np.median(means)) if len(means) else float("nan")


def case_mtre(item: Mapping[str, Any]) -> float:
    """mTRE [mm] of an item of the validation, by which the worst are chosen."""
    return float((item["points"] - item["reference"]).norm(dim=-1).mean())


def draw_case(axes: Axes, item: Mapping[str, Any]) -> None:
    """Draw the input of the network, and beside it the rendering at the found pose."""
    image = torch.as_tensor(item["image"]).cpu().float()[0]
    found = torch.as_tensor(item["found_drr"]).float()
    found = torch.nn.functional.interpolate(found[None, None], size=image.shape, mode="bilinear")[0, 0]

    def scaled(x: Tensor) -> Tensor:
        return (x - x.min()) / (x.max() - x.min()).clamp(min=1e-6)

    axes.imshow(torch.cat([scaled(image), scaled(found)], dim=1), cmap="gray", vmin=0, vmax=1)
