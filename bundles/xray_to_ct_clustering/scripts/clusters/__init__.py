"""Clusters of voxels: where they start, what they should be, what they hold, pictures of them."""
