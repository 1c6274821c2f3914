"""Trains and times the SCN of `landmarker`; runs in an environment of its own that has landmarker and torch.

    python landmarker_scn.py data.npz --seconds 0

`data.npz` holds views (N, 1, X, Y) uint8 and points (N, K, 2), validation views and points with their mm per pixel, as
`tests.benchmarks.bench_hand` writes them. The views are those of our own network, so that both see the same pixels.
Points are (first axis, second axis), which landmarker calls (y, x). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from landmarker.heatmap.decoder import heatmap_to_coord
from landmarker.heatmap.generator import GaussianHeatmapGenerator
from landmarker.models.spatial_configuration_net import OriginalSpatialConfigurationNet


def locate(network: torch.nn.Module, views: torch.Tensor) -> torch.Tensor:
    """Points (N, K, 2) of views (N, 1, X, Y), one view at a time."""
    with torch.inference_mode():
        return torch.cat([heatmap_to_coord(network(view[None]), method="local_soft_argmax") for view in views])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--seconds", type=float, default=0, help="processor time of the training")
    args = parser.parse_args()
    torch.manual_seed(0)
    data = np.load(args.data)
    points = torch.as_tensor(data["points"]).float()
    test = torch.as_tensor(data["test_views"]).float() / 255
    network = OriginalSpatialConfigurationNet(in_channels=1, out_channels=points.shape[1], init_weigths=False)
    generator = GaussianHeatmapGenerator(points.shape[1], sigmas=3.0, gamma=None, heatmap_size=tuple(test.shape[2:]))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    rng = np.random.default_rng(0)
    # Processor time, so that other work on the machine costs the peer nothing.
    start, steps = time.process_time(), 0
    while time.process_time() - start < args.seconds:
        index = rng.choice(len(points), 4)
        views = torch.as_tensor(data["views"][index]).float() / 255
        # bfloat16 as in our own training
        with torch.autocast("cpu", torch.bfloat16):
            heatmaps = network(views)
        loss = (heatmaps.float() - generator(points[index])).square().sum() / len(index)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 20.0)
        optimizer.step()
        steps += 1
    network.eval()
    locate(network, test[:1])
    start = time.perf_counter()
    found = locate(network, test)
    seconds = time.perf_counter() - start
    errors_mm = (found - torch.as_tensor(data["test_points"])).norm(dim=-1) * torch.as_tensor(data["mm_per_index"])[
        :, None
    ]
    answer = {"images_per_s": len(test) / seconds, "steps": steps, "pe_mean_mm": float(errors_mm.mean())}
    print(json.dumps(answer | {"pe_median_mm": float(errors_mm.median())}))


if __name__ == "__main__":
    main()
