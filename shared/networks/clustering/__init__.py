"""Networks and losses for a CT volume from two X-rays with spatial clustering."""

from .anatomy import anatomical_centroids
from .assignment import VoxelClusteringModule
from .attention import ClusterAwareAttention, cluster_attention, dense_cluster_attention
from .biplanar import BiplanarGeometry, normalized_projection, volume_affine
from .cluster_statistics import cluster_means, cluster_separation, cluster_statistics
from .cluster_terms import assignment_entropy, cluster_consistency, diversity_loss, tissue_impurity
from .generator import SpatialClusteringCTGenerator
from .hierarchy import HierarchicalClusteringModule
from .lifting import BiplanarLifting
from .losses import ClusterTrackingLoss
from .network import BiplanarCTNetwork
from .position import PositionEncodingModule
from .reprojection import ReprojectionLoss, hu_to_intensity, intensity_to_hu
from .roi import roi_weight_map
from .tracking import PositionIntensityTracker
from .voxel_clusters import voxel_clusters

__all__ = [
    "BiplanarCTNetwork",
    "BiplanarGeometry",
    "BiplanarLifting",
    "ClusterAwareAttention",
    "ClusterTrackingLoss",
    "HierarchicalClusteringModule",
    "PositionEncodingModule",
    "PositionIntensityTracker",
    "ReprojectionLoss",
    "SpatialClusteringCTGenerator",
    "VoxelClusteringModule",
    "anatomical_centroids",
    "assignment_entropy",
    "cluster_attention",
    "cluster_consistency",
    "cluster_means",
    "cluster_separation",
    "cluster_statistics",
    "dense_cluster_attention",
    "diversity_loss",
    "hu_to_intensity",
    "intensity_to_hu",
    "normalized_projection",
    "roi_weight_map",
    "tissue_impurity",
    "volume_affine",
    "voxel_clusters",
]
