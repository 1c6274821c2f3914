"""Speed of attention between clusters against its formula with (N, N) matrices, and its memory.

8192 voxels, 8 heads of width 32, 64 clusters, a bias of rank 8 (the default): what the generator uses at
64 x 64 x 128 voxels with tokens of 4³. Each
side runs in a process of its own, so that the largest memory is that side's. Rows: inference; forward and backward;
memory of the latter; memory of ours at 32 768 voxels against four times that at 8192 (a ratio of 1 is linear growth);
a whole training step of the generator, 64³ voxels in tokens of 4³, with either attention.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from bundles.xray_to_ct_clustering.scripts.losses import ClusterTrackingLoss
from shared.networks.clustering import SpatialClusteringCTGenerator
from shared.networks.clustering.attention import cluster_attention, dense_cluster_attention
from tests.benchmarks.measure import ROOT, median_seconds, peak_memory_mb, row

NAMES = [
    "attention/dense_8192",
    "attention/dense_8192_training",
    "attention/dense_8192_memory",
    "attention/memory_growth",
    "attention/training_step",
]
HEADS, WIDTH, CLUSTERS, RANK, VOXELS = 8, 32, 64, 8, 8192


def dense(query: Tensor, key: Tensor, value: Tensor, weights: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`dense_cluster_attention` with the product of the factors of the bias."""
    return dense_cluster_attention(query, key, value, weights, left @ right.mT)


SIDES = {"ours": cluster_attention, "dense": dense}


def measure(side: str, voxels: int, steps: int) -> dict[str, float]:
    """Shortest times [s] of inference and of forward with backward, and additional memory [MB], of a side."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, HEADS, voxels, WIDTH, generator=generator).unbind()
    weights = (4 * torch.randn(1, voxels, CLUSTERS, generator=generator)).softmax(-1)
    left, right = torch.randn(2, HEADS, CLUSTERS, RANK, generator=generator).unbind()
    inputs = [tensor.requires_grad_() for tensor in (query, key, value, weights, left, right)]
    before = peak_memory_mb()

    def shortest(function: Callable[[], object]) -> float:
        times = []
        for _ in range(steps):
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
        return min(times)

    with torch.no_grad():
        inference = shortest(lambda: SIDES[side](*inputs))
    training = shortest(lambda: torch.autograd.grad(SIDES[side](*inputs).sum(), inputs))
    return {"inference": inference, "training": training, "mb": peak_memory_mb() - before}


def measured(side: str, voxels: int, steps: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_attention", side, str(voxels), str(steps)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])


def step_seconds(side: str) -> float:
    """Time of a training step of the generator of 256 dimensions, 6 blocks and 64 clusters, batch 1."""
    torch.manual_seed(0)
    generator, loss = SpatialClusteringCTGenerator(), ClusterTrackingLoss()
    optimizer = torch.optim.AdamW(generator.parameters(), lr=1e-4)
    frontal, lateral, truth = torch.rand(1, 1, 128, 128), torch.rand(1, 1, 128, 128), torch.rand(1, 1, 64, 64, 64)

    def step() -> None:
        optimizer.zero_grad()
        loss(generator(frontal, lateral), truth).backward()
        optimizer.step()

    attend = SIDES[side]
    name = "shared.networks.clustering.attention.cluster_attention"
    with patch(name, lambda *inputs: attend(*inputs[:6])):  # without dropout there is no seventh
        return median_seconds(step, repeats=3)


def run() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    ours, slow = measured("ours", VOXELS, 3), measured("dense", VOXELS, 2)
    large = measured("ours", 4 * VOXELS, 1)
    return [
        row(NAMES[0], ours["inference"], slow["inference"], "s", threads, lower_is_better=True),
        row(NAMES[1], ours["training"], slow["training"], "s", threads, lower_is_better=True),
        row(NAMES[2], ours["mb"], slow["mb"], "MB", threads, lower_is_better=True),
        row(NAMES[3], large["mb"], 4 * ours["mb"], "MB", threads, lower_is_better=True),
        row(NAMES[4], step_seconds("ours"), step_seconds("dense"), "s", threads, lower_is_better=True),
    ]


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
