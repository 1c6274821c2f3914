"""Training of the pose regressor on renderings of CTs at random poses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from monai.transforms import MapTransform
from torch import Tensor

from .augmentation import augment
from .network_io import decode, network_input
from .patient import PatientModel, render_patient
from .pose_space import PoseSpace
from .shared.drr.geometry import Detector


class RenderBatch:
    """``prepare_batch`` of MONAI's engines: renders the poses of a batch on the device and makes X-rays of them.

    Args:
        patients: the patients.
        space: of the poses.
        detector: of the network.
    """

    def __init__(self, patients: Sequence[PatientModel], space: PoseSpace, detector: Detector) -> None:
        self.patients, self.space, self.detector = patients, space, detector

    def __call__(
        self, batchdata: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Input (B, 1, rows, columns) and targets: ``parameters`` (B, 6), ``patient`` (B,), ``clean`` renderings."""
        parameters = torch.as_tensor(batchdata["parameters"]).double()
        index = torch.as_tensor(batchdata["patient"])
        seeds = torch.as_tensor(batchdata["seed"])
        clean, images, masks = [], [], []
        for pose, number, seed in zip(parameters, index.tolist(), seeds.tolist(), strict=True):
            patient = self.patients[number]
            with torch.no_grad():
                drr = render_patient(patient, self.space.to_pose(pose[None], patient.isocenter), self.detector)[0, 0]
            image, mask = augment(drr, torch.Generator().manual_seed(seed))
            clean.append(drr)
            images.append(image)
            masks.append(mask)
        image, mask = torch.stack(images)[:, None].to(device), torch.stack(masks)[:, None].to(device)
        inputs = network_input(image, mask, self.detector, self.detector)
        targets = {
            "parameters": parameters.to(device),
            "patient": index.to(device),
            "clean": torch.stack(clean)[:, None].to(device),
        }
        return inputs, targets


class PosePointsd(MapTransform):
    """Adds the patient's targets as the found and as the true camera see them (``points``, ``reference``, (N, 3) mm).

    Their distances are the target registration errors.

    Args:
        keys: the network's output (6,).
        patients: the patients.
        space: of the poses.
        detector: of the network; ``found_drr`` is rendered for it, to be looked at.
    """

    def __init__(self, keys: str, patients: Sequence[PatientModel], space: PoseSpace, detector: Detector) -> None:
        super().__init__(keys)
        self.patients, self.space, self.detector = patients, space, detector

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            truth = {name: torch.as_tensor(value).detach().cpu() for name, value in result["label"].items()}
            patient = self.patients[int(truth["patient"])]
            found = decode(torch.as_tensor(result[key]).detach().cpu()[None], self.space)
            result["points"] = patient.targets_in(self.space.to_pose(found, patient.isocenter)[0])
            true = self.space.to_pose(truth["parameters"].double()[None], patient.isocenter)[0]
            result["reference"] = patient.targets_in(true)
            result["mm"] = 1.0
            drr = render_patient(patient, self.space.to_pose(found, patient.isocenter), self.detector)
            result["found_drr"] = drr[0, 0].cpu()
        return result


def draw_case(axes: Axes, item: Mapping[str, Any]) -> None:
    """Draw the input of the network, and beside it the rendering at the found pose."""
    image = torch.as_tensor(item["image"]).cpu().float()[0]
    found = torch.as_tensor(item["found_drr"]).float()
    found = torch.nn.functional.interpolate(found[None, None], size=image.shape, mode="bilinear")[0, 0]

    def scaled(x: Tensor) -> Tensor:
        return (x - x.min()) / (x.max() - x.min()).clamp(min=1e-6)

    axes.imshow(torch.cat([scaled(image), scaled(found)], dim=1), cmap="gray", vmin=0, vmax=1)
