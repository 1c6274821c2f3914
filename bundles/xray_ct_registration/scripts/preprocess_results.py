"""Write preprocessed CTs: volumes, transform, report and picture of every case, and one table of all."""

from __future__ import annotations

import csv
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from .prepared_ct import PreparedCt
from .shared.engines.case_evaluator import CaseDataset
from .shared.engines.process_cases import process_cases
from .shared.evaluation.reports import plain
from .shared.geometry.masks import present_labels
from .shared.io.atomic import atomic_path
from .shared.io.errors import CaseError
from .shared.io.itk_images import write_image
from .shared.io.json_files import write_json
from .shared.pictures.files import save_picture
from .shared.pictures.volume_preview import three_planes
from .transform_file import grid_values, write_transform

logger = logging.getLogger(__name__)


def coregistration_of(prepared: PreparedCt) -> dict[str, Any]:
    """The report of the co-registration of a prepared; empty where it had none."""
    return next((step for step in prepared.steps if step["step"] == "coregister"), {})


def case_report(prepared: PreparedCt) -> dict[str, Any]:
    """Report of a case for JSON."""
    return {
        "case": prepared.case,
        "source": prepared.source,
        "mirrored": prepared.mirrored,
        "labels": [] if prepared.mask is None else present_labels(prepared.label_array()),
        "coregistration_failed": coregistration_of(prepared).get("failed"),
        "warnings": list(prepared.warnings),
        "steps": list(prepared.steps),
        "preprocessed_grid": grid_values(prepared.ct),
    }


def case_picture(prepared: PreparedCt) -> Image.Image:
    """Three planes of a case: its labels in colour, after a co-registration those of the reference in white."""
    found = coregistration_of(prepared)
    title = prepared.case + (", mirrored" if prepared.mirrored else "")
    if found:
        verdict = "NOT TO BE TRUSTED" if found["failed"] else "ok"
        title += f", co-registered to {found['reference']} (white): {verdict}, NCC {found['ncc']:.2f}"
    return three_planes(prepared.ct, prepared.mask, prepared.comparison, title=title)


class SavePrepared:
    """Write a preprocessed CT: ``__call__(prepared)`` gives its row of the table of all cases.

    ``<case>.nii.gz``, ``<case>_seg.nii.gz``, ``<case>_preview.png``, ``<case>_transform.json`` and, when all of them
    are there, ``<case>_report.json``.

    Args:
        output_dir: where to.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = Path(output_dir)

    def __call__(self, prepared: PreparedCt) -> dict[str, Any]:
        write_image(prepared.ct, self.output_dir / f"{prepared.case}.nii.gz")
        if prepared.mask is not None:
            write_image(prepared.mask, self.output_dir / f"{prepared.case}_seg.nii.gz")
        save_picture(case_picture(prepared), self.output_dir / f"{prepared.case}_preview.png")
        values = {
            "case": prepared.case,
            "source": prepared.source,
            "mirrored": prepared.mirrored,
            "moves": list(prepared.moves),
            "preprocessed_grid": grid_values(prepared.ct),
        }
        write_transform(self.output_dir / f"{prepared.case}_transform.json", values, prepared.matrix)
        write_json(self.output_dir / f"{prepared.case}_report.json", plain(case_report(prepared)))
        failed = coregistration_of(prepared).get("failed")
        return {
            "case": prepared.case,
            "source": prepared.source,
            "mirrored": prepared.mirrored,
            "coregistration": {None: "", False: "ok", True: "failed"}[failed],
            "warnings": "; ".join(prepared.warnings),
        }


def check_output(items: Sequence[Mapping[str, Any]], output_dir: Path) -> None:
    """Refuse an output folder that holds the CTs themselves: they would be overwritten.

    Raises:
        CaseError: with the first of them.
    """
    for item in items:
        if Path(item["image"]).resolve().parent == output_dir.resolve():
            raise CaseError(
                item["image"], "lies in the output folder and might be overwritten", "set another --output_dir"
            )


def preprocess_cases(dataset: CaseDataset, output_dir: str | os.PathLike) -> None:
    """Take all cases through their transforms, the last of which is :class:`SavePrepared`, and write ``summary.csv``.

    Args:
        dataset: of cases whose transform gives the rows of the table.
        output_dir: where the table goes.

    Raises:
        CaseError: when the output folder is that of the CTs.
        SystemExit: with code 1 at the end if a case failed.
    """
    folder = Path(output_dir)
    check_output(dataset.data, folder)

    def warn(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for row in rows:
            if row["warnings"]:
                tqdm.write(f"{row['case']}: {row['warnings']}", file=sys.stderr)
        return rows

    def write_table(results: list[list[dict[str, Any]]]) -> None:
        rows = [row for result in results for row in result]
        if rows:
            with atomic_path(folder / "summary.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
        flagged = [row["case"] for row in rows if row["coregistration"] == "failed"]
        if flagged:
            logger.warning("co-registration not to be trusted: %s", ", ".join(flagged))

    process_cases(dataset, "preprocess", warn, write_table)
