"""Training of the generator: the view that returns everything, the batches, the loss, the start of the clusters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from .clusters.anatomy import anatomical_centroids
from .clusters.losses import tissue_impurity
from .data.patient_ct import PatientCT, cube, cube_labels, pooled, thinned
from .data.patients import fine_size
from .hounsfield import TISSUES, between_dense_voxels, hu_to_intensity, tissue_map
from .losses import ClusterTrackingLoss
from .reprojection import ReprojectionLoss
from .roi import roi_weight_map
from .shared.engines.settings import flag
from .shared.io.errors import CaseError
from .shared.networks.clustering.biplanar import BiplanarGeometry
from .shared.networks.clustering.network import BiplanarCTNetwork
from .shared.pictures.plots import CurvePlot

SAMPLED_VOXELS = 4096  # of each volume, for the purity of the clusters
ATLAS_PATIENTS = 12  # from which the clusters are placed


class GeneratorView(nn.Module):
    """The exported network in training: both X-rays (B, 2, rows, columns) to all outputs of its generator.

    The weights are those of the network; saving is left to it.

    Args:
        network: whose ``generator`` is trained.
    """

    def __init__(self, network: BiplanarCTNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, projections: Tensor | None = None) -> dict[str, Tensor]:
        return self.network.generator(image[:, :1], image[:, 1:], projections=projections)


class GeneratorInferer(SimpleInferer):
    """A forward pass in training, in bfloat16 where the operations allow it; all outputs come back as float32.

    Args:
        amp: whether to reduce the precision.
    """

    def __init__(self, amp: bool = True) -> None:
        super().__init__()
        self.amp = flag("amp", amp)

    def __call__(  # type: ignore[override]
        self, inputs: Tensor, network: Callable[..., dict[str, Tensor]], *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            output = network(inputs, *args, **kwargs)
        return {name: value.float() for name, value in output.items()}


def prepare_batch(
    batch: Mapping[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Tensor]]:
    """Input, target and the cameras of a batch of `RandomPairs`, in the form that MONAI's trainers take."""
    names = ("image", "label", "regions", "distances", "projections")
    moved = {name: batch[name].to(device, non_blocking=non_blocking) for name in names}
    projections = moved.pop("projections")
    return moved["image"], moved, (), {"projections": projections}


class BiplanarLoss(nn.Module):
    """All that the generator is trained on: `ClusterTrackingLoss`, purity of the clusters, consistency with the X-rays.

    Args:
        tracking: loss of volume and clusters.
        clustering: of the generator; None where there is none.
        grid: tokens along x, y, z.
        geometry: of the views; each item brings the distances of its own.
        spacing_mm: edge of a voxel.
        lambda_purity: weight of the purity of voxels' clusters by tissue: each voxel takes the cluster of its token's
            features, its own position and its predicted intensity.
        lambda_projection: weight of the consistency of the rendered prediction with the X-rays.
        roi_weights: weight of tissues (names of `TISSUES`) in the position term; 1 for those not named.
        region_weights: weight of regions (labels of the label maps) in the position term; 1 for those not named.

    Raises:
        CaseError: for an unknown tissue.
    """

    def __init__(
        self,
        tracking: ClusterTrackingLoss,
        clustering: nn.Module | None,
        grid: Sequence[int],
        geometry: BiplanarGeometry,
        spacing_mm: float,
        lambda_purity: float = 0.0,
        lambda_projection: float = 0.0,
        roi_weights: Mapping[str, float] | None = None,
        region_weights: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__()
        unknown = sorted(set(roi_weights or {}) - set(TISSUES))
        if unknown:
            raise CaseError("--roi_weights", f"knows no tissue {unknown[0]!r}", f"name some of {', '.join(TISSUES)}")
        self.tracking, self.grid, self.geometry, self.spacing_mm = tracking, list(grid), geometry, spacing_mm
        self.shared_clustering = [clustering]  # in a list: its weights belong to the network, not to the loss
        self.lambda_purity, self.lambda_projection = lambda_purity, lambda_projection
        self.last_terms: dict[str, Tensor] = {}  # of the last call, without their weights
        self.roi = {TISSUES[name]: float(weight) for name, weight in (roi_weights or {}).items()}
        self.regions = {int(label): float(weight) for label, weight in (region_weights or {}).items()}

    def purity(self, output: Mapping[str, Tensor], tissues: Tensor) -> Tensor:
        """`tissue_impurity` of the clusters of random voxels, a scalar.

        Args:
            output: of the generator.
            tissues: (B, X, Y, Z).
        """
        clustering, volume = self.shared_clustering[0], output["pred_volume"]
        size = torch.tensor(volume.shape[2:], device=volume.device)
        voxel = (torch.rand(SAMPLED_VOXELS, 3, device=volume.device) * size).long()
        x, y, z = voxel.unbind(-1)
        edge = size // torch.tensor(self.grid, device=volume.device)
        cell = voxel // edge
        token = (cell[:, 0] * self.grid[1] + cell[:, 1]) * self.grid[2] + cell[:, 2]
        position = (2 * voxel + 1) / size - 1
        intensity = volume[:, 0, x, y, z, None].detach()  # the clusters follow the volume, not the volume the clusters
        similarity = output["cluster_similarity"][:, token]
        assignments = clustering.assign(similarity, position, intensity)  # type: ignore[union-attr, operator]
        return tissue_impurity(assignments, tissues[:, x, y, z], len(TISSUES))

    def consistency(self, volume: Tensor, images: Tensor, distances: Tensor) -> Tensor:
        """`ReprojectionLoss` of each item (B, 1, X, Y, Z) in its own geometry, the mean, a scalar."""
        terms = []
        for item, image, (source, sdd, pixel) in zip(volume, images, distances.tolist(), strict=True):
            geometry = dataclasses.replace(self.geometry, source_to_isocenter_mm=source, sdd_mm=sdd, pixel_mm=pixel)
            terms.append(ReprojectionLoss(geometry, self.spacing_mm)(item[None], image[None]))
        return torch.stack(terms).mean()

    def forward(self, output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum, a scalar.

        Args:
            output: of the generator.
            target: of `prepare_batch`.
        """
        label = target["label"]
        tissues = roi = None
        if self.roi or self.lambda_purity:
            tissues = torch.stack([tissue_map(one[0], between_dense_voxels(one[0])) for one in label])
        if self.roi and tissues is not None:
            roi = roi_weight_map(tissues, self.roi)[:, None]
        if self.regions:
            regions = roi_weight_map(target["regions"], self.regions)[:, None]
            roi = regions if roi is None else roi * regions
        loss = self.tracking(output, label, roi)
        self.last_terms = self.tracking.last_terms
        if self.lambda_purity and tissues is not None:
            purity = self.purity(output, tissues)
            self.last_terms["purity"] = purity.detach()
            loss = loss + self.lambda_purity * purity
        if self.lambda_projection:
            term = self.consistency(output["pred_volume"], target["image"], target["distances"])
            self.last_terms["projection"] = term.detach()
            loss = loss + self.lambda_projection * term
        return loss


class LossTerms:
    """Handler of a trainer: the mean of every term of the loss over an epoch, as metric and curve ``loss_<term>``.

    Args:
        loss: of the training.
        curves: picture of the curves.
    """

    def __init__(self, loss: BiplanarLoss, curves: CurvePlot) -> None:
        self.loss, self.curves = loss, curves
        self.seen: dict[str, list[Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        self.seen = {}

    def note(self, engine: Engine) -> None:
        for name, term in self.loss.last_terms.items():
            self.seen.setdefault(f"loss_{name}", []).append(term)

    def finish(self, engine: Engine) -> None:
        for name, terms in self.seen.items():
            engine.state.metrics[name] = float(torch.stack(terms).mean())
            self.curves.add(name, engine.state.epoch, engine.state.metrics[name])


def place_clusters(
    network: BiplanarCTNetwork, patients: Sequence[PatientCT], volume_size: Sequence[int], spacing_mm: float, how: str
) -> BiplanarCTNetwork:
    """The network with its clusters where they start.

    Args:
        network: whose clusters are placed.
        patients: of the training.
        volume_size: of the volume.
        spacing_mm: of the volume.
        how: "anatomy" by tissues of the patients, "labels" by the regions of those that have a label map, "even" to
            leave the clusters evenly over places and intensities.

    Raises:
        CaseError: for another word, or where no patient has a label map.
    """
    if how not in ("anatomy", "labels", "even"):
        raise CaseError("--initial_clusters", f"is {how!r}", "write anatomy, labels or even")
    if how == "labels":
        patients = [patient for patient in patients if patient.labels is not None]
        if not patients:
            raise CaseError("--initial_clusters labels", "finds no label map", "name those of --labels_dir as the CTs")
    if how != "even":
        step = max(1, len(patients) // ATLAS_PATIENTS)
        volumes, labels = [], []
        for patient in patients[::step]:
            size = fine_size(volume_size, spacing_mm, patient.spacing_mm)
            factor = size // volume_size[0]
            volumes.append(hu_to_intensity(pooled(cube(patient, size), factor)))
            regions = how == "labels"
            labels.append(thinned(cube_labels(patient, size), factor) if regions else tissue_map(volumes[-1]))
        clustering = network.generator.clustering
        clustering.set_centroids(*anatomical_centroids(labels, volumes, clustering.num_clusters))
    return network
