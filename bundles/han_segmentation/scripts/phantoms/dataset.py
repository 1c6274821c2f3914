"""Writing phantoms as NIfTI folders, or in the form in which HaN-Seg is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from ..shared.geometry.masks import label_box
from ..shared.io.itk_images import crop_image, to_sitk, write_image
from .names import NAMES
from .phantom import HeadNeckPhantom, make_head_neck


def write_nifti_case(phantom: HeadNeckPhantom, folder: Path) -> None:
    """Write ``ct.nii.gz``, ``mr_t1.nii.gz``, ``labels.nii.gz``, ``labels.json`` and what is known: ``phantom.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(to_sitk(phantom.ct, phantom.affine), folder / "ct.nii.gz")
    if phantom.mr is not None:
        write_image(to_sitk(phantom.mr, phantom.mr_affine), folder / "mr_t1.nii.gz")
    write_image(to_sitk(phantom.labels, phantom.affine), folder / "labels.nii.gz")
    contoured = [NAMES[number] for number in phantom.contoured]
    labels = {str(number): name for number, name in NAMES.items()}
    (folder / "labels.json").write_text(json.dumps({"contoured": contoured, "labels": labels}))
    known = {"mr_to_ct_ras_mm": phantom.mr_to_ct.tolist(), **phantom.meta}
    (folder / "phantom.json").write_text(json.dumps(known))


def segment_image(phantom: HeadNeckPhantom, number: int) -> tuple[sitk.Image, np.ndarray]:
    """One organ cropped to its box, as 3D Slicer stores a segment, and the first voxel (3,) of the box in the CT."""
    found = label_box(phantom.labels, [number])
    assert found is not None
    low, high = found
    mask = to_sitk((phantom.labels == number).astype(np.uint8), phantom.affine)
    return crop_image(mask, low.tolist(), high.tolist()), low


def write_han_seg_case(phantom: HeadNeckPhantom, folder: Path) -> None:
    """Write ``<case>_IMG_CT.nrrd``, ``<case>_IMG_MR_T1.nrrd`` and ``<case>_OAR_<name>.seg.nrrd`` of every organ.

    The name of the folder is that of the case. Each segmentation file holds the box of its organ alone, with the
    header fields of 3D Slicer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    case = folder.name
    write_image(to_sitk(phantom.ct, phantom.affine), folder / f"{case}_IMG_CT.nrrd")
    if phantom.mr is not None:
        write_image(to_sitk(phantom.mr, phantom.mr_affine), folder / f"{case}_IMG_MR_T1.nrrd")
    for number in phantom.contoured:
        segment, low = segment_image(phantom, number)
        fields = {
            "Segment0_ID": "Segment_1",
            "Segment0_Name": NAMES[number],
            "Segment0_LabelValue": "1",
            "Segment0_Layer": "0",
            "Segment0_Extent": " ".join(f"0 {size - 1}" for size in segment.GetSize()),
            "Segmentation_ReferenceImageExtentOffset": " ".join(str(int(v)) for v in low),
            "Segmentation_MasterRepresentation": "Binary labelmap",
        }
        for key, value in fields.items():
            segment.SetMetaData(key, value)
        write_image(segment, folder / f"{case}_OAR_{NAMES[number]}.seg.nrrd")


def write_head_neck_dataset(
    output_dir: str,
    count: int = 4,
    seed: int = 0,
    form: Literal["nifti", "han_seg"] = "nifti",
    spacing_mm: float = 2.0,
    with_mr: bool = True,
    missing: int = 0,
) -> str:
    """Write phantoms.

    Args:
        output_dir: folder, made if it does not exist.
        count: number of phantoms; phantom i is made from seed + i.
        form: "nifti" (a folder per case) or "han_seg" (nrrd and .seg.nrrd below ``set_1``).
        spacing_mm: voxel size of the CT.
        with_mr: whether there is a T1.
        missing: number of organs per case that are not contoured.

    Returns:
        the folder.
    """
    if form not in ("nifti", "han_seg"):
        raise ValueError(f"form {form!r}: nifti or han_seg")
    for number in range(seed, seed + count):
        phantom = make_head_neck(number, (spacing_mm,) * 3, with_mr=with_mr, missing=missing)
        if form == "nifti":
            write_nifti_case(phantom, Path(output_dir) / f"head_{number:05d}")
        else:
            write_han_seg_case(phantom, Path(output_dir) / "set_1" / f"case_{number + 1:02d}")
    return output_dir
