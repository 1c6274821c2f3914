"""Small heads in the forms of data sets, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bundles.han_segmentation.scripts.organs import read_organs
from bundles.han_segmentation.scripts.phantoms import HeadNeckPhantom, make_head_neck
from bundles.han_segmentation.scripts.phantoms.dataset import write_han_seg_case, write_nifti_case

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "han_segmentation"
TABLE = read_organs(BUNDLE / "configs" / "organs.json")
NAMES, NUMBERS, PAIRS, SMALL_ORGANS = TABLE.names, TABLE.numbers, TABLE.pairs, TABLE.small


@cache
def head(seed: int = 3, missing: int = 0) -> HeadNeckPhantom:
    """A head of 4 mm, T1 included."""
    return make_head_neck(seed, (4.0, 4.0, 4.0), mr_spacing_mm=(4.0, 4.0, 4.0), missing=missing)


def han_seg_folder(root: Path, missing: int = 2) -> Path:
    """``case_01`` of HaN-Seg."""
    folder = root / "set_1" / "case_01"
    write_han_seg_case(head(missing=missing), folder)
    return folder


def nifti_folder(root: Path, name: str = "patient") -> Path:
    """A folder of NIfTI files."""
    write_nifti_case(head(missing=2), root / name)
    return root / name
