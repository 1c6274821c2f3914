"""Networks for a CT volume from two X-rays with spatial clustering."""

from .assignment import VoxelClusteringModule
from .attention import ClusterAwareAttention, cluster_attention, dense_cluster_attention
from .biplanar import BiplanarGeometry, normalized_projection, volume_affine
from .generator import SpatialClusteringCTGenerator
from .hierarchy import HierarchicalClusteringModule
from .lifting import BiplanarLifting
from .network import BiplanarCTNetwork
from .position import PositionEncodingModule
from .tracking import PositionIntensityTracker

__all__ = [
    "BiplanarCTNetwork",
    "BiplanarGeometry",
    "BiplanarLifting",
    "ClusterAwareAttention",
    "HierarchicalClusteringModule",
    "PositionEncodingModule",
    "PositionIntensityTracker",
    "SpatialClusteringCTGenerator",
    "VoxelClusteringModule",
    "cluster_attention",
    "dense_cluster_attention",
    "normalized_projection",
    "volume_affine",
]
