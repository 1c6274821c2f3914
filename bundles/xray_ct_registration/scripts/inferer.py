"""The inferer of the registration: from X-rays and the CT to poses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from .confidence import AcceptanceLimits
from .patient import PatientModel
from .pose_space import PoseSpace
from .register import Registration, Schedule, register
from .shared.drr.geometry import Detector
from .shared.io.weights import load_network
from .views import RadiographView


def load_regressor(
    network: torch.nn.Module, ckpt_path: str, device: torch.device, use_network: bool = True
) -> torch.nn.Module:
    """The pose regressor with its weights; as it is where it will not be asked."""
    return load_network(network, ckpt_path, device) if use_network else network.eval()


class RegistrationInferer(Inferer):
    """Registers the views of a case to the CT; see `register.register`.

    The metadata of the image hold the ``views`` and, where a pose is given to begin with, ``start``.

    Args:
        patient: the CT.
        space: where the first camera may stand.
        trained: detector with which the network was trained.
        schedule: how it is run.
        limits: of the confidence.
        multistart: whether the whole space may be searched.
        backend: of the renderer.
        use_network: False for a search without the network.
        single_bone: see `register.register`.
    """

    def __init__(
        self,
        patient: PatientModel,
        space: PoseSpace,
        trained: Detector,
        schedule: Schedule | None = None,
        limits: AcceptanceLimits | None = None,
        multistart: bool = True,
        backend: str | None = None,
        use_network: bool = True,
        single_bone: bool | str = "auto",
    ) -> None:
        super().__init__()
        self.patient, self.space, self.trained = patient, space, trained
        self.schedule, self.limits, self.multistart = schedule or Schedule(), limits or AcceptanceLimits(), multistart
        self.single_bone, self.backend, self.use_network = single_bone, backend, use_network

    def __call__(  # type: ignore[override]
        self, inputs: MetaTensor, network: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any
    ) -> Registration:
        views: list[RadiographView] = inputs.meta["views"]
        return register(
            self.patient,
            [view.to(self.patient.attenuation.device) for view in views],
            self.space,
            network if self.use_network else None,
            self.trained,
            self.schedule,
            self.limits,
            self.multistart,
            inputs.meta.get("start"),
            backend=self.backend,
            single_bone=self.single_bone,
        )
