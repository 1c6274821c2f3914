"""One rule for the size of the pixels of a radiograph, on the detector and at the patient.

1. What the user says counts first: an option, then the side car of the image. It is the size on the detector.
2. `PixelSpacing` is the size at the patient where it was calibrated: it has a `PixelSpacingCalibrationType`, or is
   smaller than `ImagerPixelSpacing`.
3. Else the size on the detector is `ImagerPixelSpacing`, or `PixelSpacing`, or `NominalScannedPixelSpacing` of a film.
   Divided by the magnification it is the size at the patient. The magnification is
   `EstimatedRadiographicMagnificationFactor`, or the distance from source to detector over that to the patient; where
   neither is known the size on the detector is given for both, and the magnification is null.
4. NIfTI, MHA and NRRD have one size, taken as on the detector; exactly 1 x 1 mm means unknown.
5. The resolution in PNG, JPEG, BMP and TIFF is that of a screen or a printer, and never believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .header import Header, same, same_pair

Pair = tuple[float, float]


@dataclass(frozen=True)
class PixelSize:
    """Distance between columns and between rows of a radiograph in mm.

    Attributes:
        mm: at the patient; on the detector where the magnification is not known.
        source: what says it: "option", "side car", the DICOM attribute, "file", or a sentence about what was assumed.
        detector_mm: on the detector, None where unknown.
        magnification: of the patient on the detector, None where unknown.
        magnification_source: what says it.
    """

    mm: Pair
    source: str
    detector_mm: Pair | None
    magnification: float | None = None
    magnification_source: str = "unknown"

    def content(self) -> dict[str, Any]:
        """What a JSON result says under ``pixel_size``."""
        return {
            "mm": [round(size, 6) for size in self.mm],
            "from": self.source,
            "detector_mm": None if self.detector_mm is None else [round(size, 6) for size in self.detector_mm],
            "magnification": None if self.magnification is None else round(self.magnification, 6),
            "magnification_from": self.magnification_source,
        }

    def swapped(self) -> PixelSize:
        """The size when rows and columns change places."""
        detector = None if self.detector_mm is None else self.detector_mm[::-1]
        return replace(self, mm=self.mm[::-1], detector_mm=detector)


def on_detector(detector_mm: Pair, source: str, magnification: tuple[float, str] | None = None) -> PixelSize:
    """Pixels of a known size on the detector."""
    factor, told_by = magnification or (None, "unknown")
    scale = factor or 1.0
    return PixelSize((detector_mm[0] / scale, detector_mm[1] / scale), source, detector_mm, factor, told_by)


def at_patient(mm: Pair, source: str, detector_mm: Pair | None, magnification: tuple[float, str] | None) -> PixelSize:
    """Pixels of a known size at the patient."""
    if magnification is None and detector_mm is not None:
        magnification = detector_mm[0] / mm[0], f"ImagerPixelSpacing / {source}"
    if magnification is None:
        return PixelSize(mm, source, detector_mm)
    if detector_mm is None:
        detector_mm = mm[0] * magnification[0], mm[1] * magnification[0]
    return PixelSize(mm, source, detector_mm, *magnification)


def header_pixel_size(header: Header) -> PixelSize | None:
    """The pixel size that a header says, None where it says none.

    What is doubtful is left in the header's problems and remarks.
    """
    imager, pixel = header.spacing("ImagerPixelSpacing"), header.spacing("PixelSpacing")
    magnification = header.magnification()
    calibrated = bool(header.text("PixelSpacingCalibrationType"))
    if pixel is not None and imager is not None and not same_pair(pixel, imager):
        if pixel[0] > imager[0] or pixel[1] > imager[1]:
            header.remarks.append(
                f"PixelSpacing ({pixel[0]:g}) is larger than ImagerPixelSpacing ({imager[0]:g}): the picture was "
                "reduced, perhaps; PixelSpacing is used"
            )
            imager = None
        else:
            calibrated = True
    if pixel is not None and calibrated:
        if magnification is not None and imager is not None and not same(pixel[0] * magnification[0], imager[0]):
            header.remarks.append(
                f"PixelSpacing ({pixel[0]:g}) and ImagerPixelSpacing ({imager[0]:g}) differ by another factor than the "
                f"magnification of {magnification[0]:.3g}: PixelSpacing is used as the size at the patient"
            )
            magnification = None
        return at_patient(pixel, "PixelSpacing", imager, magnification)
    nominal = None if imager or pixel else header.spacing("NominalScannedPixelSpacing")
    for spacing, name in (
        (imager, "ImagerPixelSpacing"),
        (pixel, "PixelSpacing"),
        (nominal, "NominalScannedPixelSpacing"),
    ):
        if spacing is not None:
            return on_detector(spacing, name, magnification)
    return None


def contradiction(what: str, used: Sequence[float], told: Sequence[float] | None, by: str) -> list[str]:
    """A warning where what is used differs from what the file says; none where it does not."""
    if told is None or all(same(first, second) for first, second in zip(used, told, strict=True)):
        return []
    shown = [" x ".join(f"{value:g}" for value in values) for values in (used, told)]
    return [f"{by} gives a {what} of {shown[0]} mm, the file says {shown[1]} mm: the first is used"]
