"""Loss of the pose regressor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .network_io import decode
from .patient import PatientModel, render_patient
from .pose_space import PoseSpace
from .shared.drr.geometry import Detector
from .shared.drr.pose import double_geodesic
from .shared.drr.similarity import multiscale_ncc


class PoseLoss(nn.Module):
    """1 - multiscale NCC of the renderings at the found and at the true pose + ``geodesic_weight`` · double geodesic.

    Args:
        patients: the patients.
        space: of the poses.
        detector: of the network.
        geodesic_weight: per mm.
        image_weight: of the image term; 0 leaves out its renderings.
    """

    def __init__(
        self,
        patients: Sequence[PatientModel],
        space: PoseSpace,
        detector: Detector,
        geodesic_weight: float = 0.01,
        image_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.patients, self.space, self.detector = patients, space, detector
        self.geodesic_weight, self.image_weight = geodesic_weight, image_weight

    def forward(self, output: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of outputs (B, 6) with the targets of `RenderBatch`."""
        found, losses = decode(output, self.space), []
        for index, number in enumerate(targets["patient"].tolist()):
            patient = self.patients[number]
            pose = self.space.to_pose(found[index : index + 1], patient.isocenter)
            true = self.space.to_pose(targets["parameters"][index : index + 1], patient.isocenter)
            loss = self.geodesic_weight * double_geodesic(pose, true, self.detector.sdd, patient.isocenter)
            if self.image_weight:
                drr = render_patient(patient, pose, self.detector)
                similarity = multiscale_ncc(drr, targets["clean"][index : index + 1])
                loss = loss + self.image_weight * (1 - similarity)
            losses.append(loss.squeeze())
        return torch.stack(losses).mean().float()
