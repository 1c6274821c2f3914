"""How the clusters change during a training: one picture per epoch, and a GIF of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..shared.io.atomic import atomic_path
from ..shared.networks.clustering.network import BiplanarCTNetwork
from ..shared.pictures.files import save_picture
from ..shared.pictures.volume_preview import label_colour, to_grey
from .voxels import voxel_clusters

FRAME_MS = 250
ZOOM = 4


def cluster_frame(labels: Tensor, intensity: Tensor) -> np.ndarray:
    """Picture (rows, columns, 3) uint8: coronal and sagittal middle slice, the clusters beside the volume.

    Args:
        labels: cluster numbers (X, Y, Z).
        intensity: predicted intensities (X, Y, Z), 0 to 1.
    """
    colours = np.array([label_colour(number + 1) for number in range(int(labels.max()) + 1)], dtype=np.uint8)
    size, tiles = labels.shape, []
    for index in ((slice(None), size[1] // 2), (size[0] // 2, slice(None))):
        clusters = np.rot90(colours[labels[index].cpu().numpy()])
        grey = np.rot90(to_grey(intensity[index].cpu().numpy(), (0.0, 0.65)))
        tiles += [np.repeat(grey[..., None], 3, axis=2), clusters]
    picture = np.concatenate([tile[:, ::-1] if number < 2 else tile for number, tile in enumerate(tiles)], axis=1)
    return picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


class ClusterEvolution:
    """Handler of a trainer that draws the clusters of one validation case after every epoch.

    Each picture is a file of its own, so that a resumed training loses none; the GIF is made of them at the end.

    Args:
        path: of the GIF; the pictures go into a folder of its name beside it.
        network: in training.
        dataset: its first item is drawn.
    """

    def __init__(self, path: str | os.PathLike, network: BiplanarCTNetwork, dataset: Dataset) -> None:
        self.path, self.network, self.dataset = Path(path), network, dataset

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.draw)
        engine.add_event_handler(Events.COMPLETED, self.join)

    def frame_path(self, epoch: int) -> Path:
        return self.path.with_suffix("") / f"epoch_{epoch:04d}.png"

    @torch.no_grad()
    def draw(self, engine: Engine) -> None:
        """The picture of the epoch just completed."""
        generator = self.network.generator
        image = self.dataset[0]["image"][None].to(next(generator.parameters()).device)
        training = generator.training
        generator.eval()
        output = generator(image[:, :1], image[:, 1:])
        generator.train(training)
        volume = output["pred_volume"].clamp(0, 1)
        labels, _ = voxel_clusters(generator.clustering, output["cluster_similarity"], generator.grid, volume)
        save_picture(cluster_frame(labels[0, 0], volume[0, 0]), self.frame_path(engine.state.epoch))

    def join(self, engine: Engine) -> None:
        """The GIF of all pictures of this training."""
        paths = [self.frame_path(epoch) for epoch in range(1, engine.state.epoch + 1)]
        frames = [Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE) for path in paths if path.is_file()]
        if frames:
            with atomic_path(self.path) as temporary:
                frames[0].save(
                    temporary, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0
                )
