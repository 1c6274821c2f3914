"""What tissues look like: HU in CT, relative brightness in T1.

HU are those of a planning CT at 120 kV, T1 those of a spin echo without contrast medium where fat is 1. Organs at risk
are tissues of their own, so that their brightness can vary on its own.
"""

from __future__ import annotations

import numpy as np

# name: (HU, T1)
TISSUES: dict[str, tuple[float, float]] = {
    "air": (-1000, 0.0),
    "skin": (10, 0.45),
    "fat": (-95, 1.0),
    "muscle": (58, 0.40),
    "soft": (35, 0.42),
    "mucosa": (48, 0.50),
    "tongue": (62, 0.48),
    "lips": (40, 0.46),
    "lymph": (40, 0.38),
    "tumour": (62, 0.36),
    "vein": (60, 0.22),
    "artery": (68, 0.10),
    "cortex": (1150, 0.06),
    "skull": (950, 0.10),
    "petrous": (1500, 0.10),
    "marrow": (240, 0.70),
    "mandible": (1150, 0.10),
    "mandible_marrow": (330, 0.75),
    "tooth": (2100, 0.04),
    "metal": (3071, 0.0),
    "cartilage": (130, 0.30),
    "disc": (85, 0.36),
    "csf": (8, 0.14),
    "brain": (34, 0.58),
    "white": (31, 0.68),
    "brainstem": (31, 0.66),
    "cord": (38, 0.62),
    "pituitary": (50, 0.66),
    "chiasm": (40, 0.66),
    "optic_nerve": (40, 0.55),
    "vitreous": (8, 0.15),
    "lens": (75, 0.36),
    "eye_front": (16, 0.22),
    "sclera": (55, 0.40),
    "lacrimal": (48, 0.44),
    "cochlea": (120, 0.20),
    "parotid": (-15, 0.78),
    "submandibular": (48, 0.52),
    "thyroid": (105, 0.54),
    "larynx": (22, 0.60),
    "glottis": (52, 0.46),
    "arytenoid": (210, 0.44),
    "pharynx": (52, 0.44),
    "oesophagus": (42, 0.46),
    "lung": (-820, 0.03),
    "plastic": (-60, 0.0),
}
# organs whose brightness differs between patients more than that of others: standard deviation in HU
_VARIABLE_HU = {"parotid": 22.0, "thyroid": 28.0, "artery": 10.0, "vein": 10.0, "tumour": 14.0, "marrow": 60.0}


def random_brightness(rng: np.random.Generator, contrast_medium: bool) -> dict[str, tuple[float, float]]:
    """The table of one patient.

    Args:
        rng: source of the differences.
        contrast_medium: whether vessels, glands and tumour take up contrast medium in CT.
    """
    table = {}
    for name, (hu, t1) in TISSUES.items():
        hu_scale = _VARIABLE_HU.get(name, 4.0 if abs(hu) < 200 else 0.08 * abs(hu))
        fixed = name in ("air", "metal", "plastic")
        table[name] = (
            hu if fixed else hu + float(np.clip(rng.normal(), -2, 2)) * hu_scale,
            t1 if fixed else t1 * float(np.exp(0.07 * np.clip(rng.normal(), -2, 2))),
        )
    if contrast_medium:
        uptake = rng.uniform(0.5, 1.3)
        gains = {"artery": 110, "vein": 100, "thyroid": 60, "tumour": 30, "mucosa": 22, "submandibular": 28}
        gains |= {"pituitary": 30, "parotid": 14, "pharynx": 10, "tongue": 8}
        for name, gain in gains.items():
            table[name] = (table[name][0] + uptake * gain, table[name][1])
    return table
