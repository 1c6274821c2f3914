"""A CT volume from a frontal and a lateral X-ray, by attention between clusters of voxels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .assignment import START, VoxelClusteringModule
from .attention import BIAS_RANK
from .biplanar import BiplanarGeometry
from .block import ClusterBlock
from .decoder import DecoderStage
from .encoder import XrayEncoder
from .hierarchy import HierarchicalClusteringModule
from .lifting import BiplanarLifting
from .position import PositionEncodingModule, grid_positions
from .tracking import PositionIntensityTracker

LEAST_ERROR = 0.001  # lower bound of the uncertainty in units of the CT's range; the upper one is 1


def make_clustering(
    voxel_dim: int,
    num_clusters: int,
    use_position: bool,
    coarse_clusters: int,
    temperature: float,
    learn_temperature: bool,
) -> VoxelClusteringModule | HierarchicalClusteringModule:
    """Clusters in one level, or in two where ``coarse_clusters`` is not 0."""
    if coarse_clusters:
        return HierarchicalClusteringModule(
            voxel_dim, num_clusters, use_position, coarse_clusters, temperature, learn_temperature
        )
    return VoxelClusteringModule(voxel_dim, num_clusters, use_position, temperature, learn_temperature)


class SpatialClusteringCTGenerator(nn.Module):
    """Two X-rays to a CT volume, with the clusters of its voxels.

    Each X-ray is turned into a pyramid of feature maps. Every token (a cube of voxels) reads both maps where it
    projects, guesses its intensity, and is assigned to clusters by feature, position and intensity. Blocks of
    cluster-aware attention refine the tokens; they are assigned again, told their cluster, and decoded to voxels in
    stages that read the finer maps in the same way.

    Args:
        volume_size: voxels along x, y, z (right, anterior, superior); multiples of ``token_size``.
        num_clusters: K.
        voxel_dim: width of the tokens, a multiple of ``num_heads``.
        num_blocks: attention blocks.
        num_heads: of each attention.
        token_size: edge of a token in voxels, a power of two.
        mlp_ratio: hidden width of the perceptrons over ``voxel_dim``.
        dropout: of attention and perceptrons.
        num_freq_bands: of the position encoding.
        use_position: False: neither encoding nor clusters know where a token lies (for comparison).
        use_clustering: False: all tokens share one cluster, which leaves plain attention (for comparison).
        coarse_clusters: 0, or the number of coarse clusters that the K are divided among.
        image_channels: of the levels of the X-ray encoders.
        spacing_mm: edge of a voxel.
        geometry: of the two views; a chest stand with 128 x 128 pixels by default.
        bias_rank: rank of the attention's bias between clusters, 0: full.
        temperature: of the assignments at the start, see `VoxelClusteringModule`.
        learn_temperature: False keeps it.

    Images are (B, 1, rows, columns) as radiologists read them, bright where much is absorbed, of any resolution that
    is a multiple of ``2 ** (len(image_channels) - 1)``, and cover the detector of ``geometry``. Intensities of volumes
    are 0 to 1 over the range of the CT.

    Raises:
        ValueError: for sizes that do not fit.
    """

    positions: Tensor
    projections: Tensor

    def __init__(
        self,
        volume_size: Sequence[int] = (64, 64, 64),
        num_clusters: int = 64,
        voxel_dim: int = 256,
        num_blocks: int = 6,
        num_heads: int = 8,
        token_size: int = 4,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        num_freq_bands: int = 10,
        use_position: bool = True,
        use_clustering: bool = True,
        coarse_clusters: int = 0,
        image_channels: Sequence[int] = (16, 32, 64, 128),
        spacing_mm: float = 5.0,
        geometry: BiplanarGeometry | None = None,
        bias_rank: int = BIAS_RANK,
        temperature: float = START,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        if len(volume_size) != 3 or any(length < 1 or length % token_size for length in volume_size):
            raise ValueError(f"volume_size {tuple(volume_size)} has to be three multiples of token_size {token_size}")
        if token_size < 1 or token_size & (token_size - 1):
            raise ValueError(f"token_size {token_size} is no power of two")
        views = geometry or BiplanarGeometry()
        grid = [length // token_size for length in volume_size]
        size_mm = [length * spacing_mm for length in volume_size]
        self.grid = grid
        self.log_least_error = math.log(LEAST_ERROR)  # scripted code reads no module constants
        self.use_position = use_position
        self.use_clustering = use_clustering
        self.register_buffer("positions", grid_positions(grid), persistent=False)
        self.register_buffer("projections", views.projections(), persistent=False)

        def level_of(cell_mm: float) -> int:
            """Level of the pyramid whose pixels, seen at the isocentre, are closest to the size of the cells."""
            level = round(math.log2(max(cell_mm / views.isocenter_pixel_mm, 1.0)))
            return min(level, len(image_channels) - 1)

        finest = level_of(spacing_mm)
        self.frontal_encoder = XrayEncoder(image_channels, finest=finest)
        self.lateral_encoder = XrayEncoder(image_channels, finest=finest)
        token_level = level_of(token_size * spacing_mm)
        self.token_map = token_level - finest
        self.token_lifting = BiplanarLifting(grid, size_mm)
        self.tokenize = nn.Linear(2 * image_channels[token_level], voxel_dim)
        self.position_encoding = PositionEncodingModule(num_freq_bands, voxel_dim)
        self.position_encoding.requires_grad_(use_position)
        self.token_norm = nn.LayerNorm(voxel_dim)
        self.intensity_head = nn.Linear(voxel_dim, 1)
        self.clustering = make_clustering(
            voxel_dim, num_clusters, use_position, coarse_clusters, temperature, learn_temperature
        )
        if not use_clustering:
            self.clustering.requires_grad_(False)
        self.blocks = nn.ModuleList(
            [ClusterBlock(voxel_dim, num_heads, num_clusters, mlp_ratio, dropout, bias_rank) for _ in range(num_blocks)]
        )
        self.cluster_embedding = nn.Linear(num_clusters, voxel_dim, bias=False)

        stages: list[nn.Module] = []
        channels, edge = voxel_dim, token_size
        while edge > 1:
            edge //= 2
            level, outputs = level_of(edge * spacing_mm), max(voxel_dim // 2 ** (len(stages) + 2), 8)
            lifting = BiplanarLifting([length // edge for length in volume_size], size_mm)
            stages.append(DecoderStage(channels, outputs, lifting, level - finest, image_channels[level]))
            channels = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv3d(channels, 2, kernel_size=1)  # correction of the intensity, how certain it is
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))
        self.tracker = PositionIntensityTracker()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights of a generator, or of the network around it: what ``model.pt`` and the checkpoint of a training
        (under "network") hold."""
        prefix = "generator."
        if all(name.startswith(prefix) for name in state_dict):
            state_dict = {name.removeprefix(prefix): value for name, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict, assign)

    def assign(self, similarity: Tensor, intensity: Tensor) -> Tensor:
        """Assignments (B, N, K) of tokens with the similarity and intensity (B, N, 1) given."""
        assignments = self.clustering.assign(similarity, self.positions, intensity)
        if not self.use_clustering:  # the same for every token: the attention bias becomes a constant
            return torch.full_like(assignments, 1 / assignments.shape[-1])
        return assignments

    def forward(
        self,
        frontal_xray: Tensor,
        lateral_xray: Tensor,
        gt_volume: Tensor | None = None,
        projections: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predicts the volume.

        Args:
            frontal_xray: (B, 1, rows, columns).
            lateral_xray: (B, 1, rows, columns).
            gt_volume: the truth (B, 1, X, Y, Z), for the tracking maps.
            projections: (B, 2, 3, 4) of views that differ from ``geometry``, see `normalized_projection`.

        Returns:
            ``pred_volume`` (B, 1, X, Y, Z), not clamped; ``uncertainty`` (B, 1, X, Y, Z), the expected absolute error;
            ``cluster_assignments`` (B, N, K); ``cluster_similarity`` (B, N, …), for `voxel_clusters`;
            ``token_intensity`` (B, N, 1); with a truth also the maps (B, X, Y, Z) of `PositionIntensityTracker`.
            Token n is cell (x, y, z) of the grid, the last axis varying fastest.
        """
        views = self.projections.expand(frontal_xray.shape[0], -1, -1, -1) if projections is None else projections
        frontal, lateral = self.frontal_encoder(frontal_xray), self.lateral_encoder(lateral_xray)
        lifted = self.token_lifting(frontal[self.token_map], lateral[self.token_map], views)
        tokens = self.tokenize(lifted.flatten(2).transpose(1, 2))
        if self.use_position:
            tokens = tokens + self.position_encoding(self.positions)
        normed = self.token_norm(tokens)
        assignments = self.assign(self.clustering.similarity(normed), self.intensity_head(normed))
        for block in self.blocks:
            tokens = block(tokens, assignments)
        normed = self.token_norm(tokens)
        similarity, intensity = self.clustering.similarity(normed), self.intensity_head(normed)
        assignments = self.assign(similarity, intensity)
        x = (normed + self.cluster_embedding(assignments)).transpose(1, 2).unflatten(2, self.grid)
        volume = intensity.transpose(1, 2).unflatten(2, self.grid)
        for stage in self.stages:
            x = stage(x, frontal, lateral, views)
        volume = F.interpolate(volume, size=x.shape[2:], mode="trilinear", align_corners=False)
        correction, certainty = self.head(x).split(1, dim=1)
        output = {
            "pred_volume": volume + correction,
            "uncertainty": (self.log_least_error * certainty.sigmoid()).exp(),
            "cluster_assignments": assignments,
            "cluster_similarity": similarity,
            "token_intensity": intensity,
        }
        if gt_volume is not None:
            output.update(self.tracker(output["pred_volume"], gt_volume))
        return output
