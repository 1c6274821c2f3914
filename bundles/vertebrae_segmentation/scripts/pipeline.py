"""The pipeline from Python: the transforms and networks of ``configs/pipeline.json``, for one CT at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from .shared.geometry.grids import volume_affine
from .shared.io.cases import find_cases
from .shared.io.itk_images import to_sitk

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "pipeline.json"


class FullPipelinePredictor:
    """Finds, labels and segments the vertebrae of a CT.

    Args:
        spine_checkpoint: weights of the first stage; the shipped ones where None, as for the others.
        vertebrae_checkpoint: weights of the second stage.
        segmentation_checkpoint: weights of the third stage.
        device: "cuda", "cpu" …; a GPU if there is one where None.
        settings: further ids of ``configs/pipeline.json``, such as ``network_def`` of weights of another width.

    Example::

        pipeline = FullPipelinePredictor(device="cuda")
        result = pipeline.predict("ct_scan.nii.gz", output_dir="results/", save_intermediates=True)
        result["segmentation"]  # SimpleITK image on the grid of the CT
        result["landmarks"]  # {"T12": (x, y, z), …} in world LPS mm
    """

    def __init__(
        self,
        spine_checkpoint: str | os.PathLike | None = None,
        vertebrae_checkpoint: str | os.PathLike | None = None,
        segmentation_checkpoint: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        **settings: Any,
    ) -> None:
        checkpoints = {
            "spine_ckpt_path": spine_checkpoint,
            "vertebrae_ckpt_path": vertebrae_checkpoint,
            "ckpt_path": segmentation_checkpoint,
        }
        self.settings = {"bundle_root": str(CONFIG.parent.parent), **settings}
        self.settings |= {name: str(path) for name, path in checkpoints.items() if path is not None}
        if device is not None:
            self.settings["device"] = torch.device(device)
        parser = self._parser()
        names = ("network", "spine_stage", "vertebra_stage")
        self.networks = {name: parser.get_parsed_content(name) for name in names}

    def _parser(self, **settings: Any) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(str(CONFIG))
        for name, value in {**self.settings, **settings}.items():
            parser[name] = value
        return parser

    def predict(
        self,
        image: str | os.PathLike,
        output_dir: str | os.PathLike | None = None,
        landmarks: str | os.PathLike | None = None,
        save_intermediates: bool = False,
    ) -> dict[str, Any]:
        """Process one CT.

        Args:
            image: file, or folder of a DICOM series.
            output_dir: where the result files go; none are written where None.
            landmarks: body centres to use instead of the first two stages.
            save_intermediates: write the heatmaps too.

        Returns:
            ``segmentation`` (SimpleITK uint8 on the grid of the CT), ``landmarks`` (name to LPS mm), ``result`` (what
            ``<case>_landmarks.json`` holds).

        Raises:
            CaseError: for a CT that cannot be processed.
        """
        folder = None if output_dir is None else str(output_dir)
        options = {"output_dir": folder, "landmarks": landmarks, "save_intermediates": save_intermediates}
        parser = self._parser(**self.networks, **options)
        item: dict[str, Any] = dict(find_cases(image, "volume")[0])
        item = parser.get_parsed_content("preprocessing")(item)
        logits = parser.get_parsed_content("inferer")(item["image"][None], self.networks["network"])
        steps = parser.get_parsed_content("postprocessing").transforms
        item = Compose(steps if folder else steps[:-1])({**item, "pred": logits[0]})  # the last one saves
        labels = item["pred"]
        points = {mark["name"]: (mark["x"], mark["y"], mark["z"]) for mark in item["result"]["landmarks"]}
        image_itk: sitk.Image = to_sitk(labels.as_tensor()[0].numpy(), volume_affine(labels))
        return {"segmentation": image_itk, "landmarks": points, "result": item["result"]}
