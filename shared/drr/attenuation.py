"""From Hounsfield units to linear attenuation, and from its line integrals to detector images.

Everything is monochromatic at an effective energy (about 70 keV for a chest X-ray at 120 kVp, 50 keV for a hand).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# NIST, Hubbell & Seltzer, "Tables of X-Ray Mass Attenuation Coefficients" (NISTIR 5632): mu / rho in cm^2 / g for
# liquid water and cortical bone (ICRU-44), by photon energy in keV.
ENERGIES_KEV = (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0)
WATER = (5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505, 0.1370)
CORTICAL_BONE = (28.51, 9.032, 4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480, 0.1309)
WATER_DENSITY = 1.0  # g / cm^3
BONE_DENSITY = 1.92
CT_ENERGY_KEV = 70.0  # effective energy of a CT at 120 kVp
CT_RANGE_HU = 3071.0  # largest value of a 12-bit CT


def linear_attenuation(material: str, energy_kev: float) -> float:
    """Linear attenuation [1/mm] of "water" or "bone" (cortical) at a photon energy; log-log interpolation.

    Raises:
        ValueError: for another material, or an energy outside 10 to 200 keV.
    """
    if material not in ("water", "bone"):
        raise ValueError(f"unknown material {material!r}: 'water' or 'bone'")
    if not ENERGIES_KEV[0] <= energy_kev <= ENERGIES_KEV[-1]:
        raise ValueError(f"energy {energy_kev} keV is outside {ENERGIES_KEV[0]:g} to {ENERGIES_KEV[-1]:g} keV")
    table, density = (WATER, WATER_DENSITY) if material == "water" else (CORTICAL_BONE, BONE_DENSITY)
    above = next(i for i in range(1, len(ENERGIES_KEV)) if energy_kev <= ENERGIES_KEV[i])
    low, high = ENERGIES_KEV[above - 1], ENERGIES_KEV[above]
    share = math.log(energy_kev / low) / math.log(high / low)
    return table[above - 1] ** (1 - share) * table[above] ** share * density / 10


def hu_to_attenuation(
    volume: Tensor,
    energy_kev: float = 70.0,
    ct_energy_kev: float = CT_ENERGY_KEV,
    max_hu: float | None = CT_RANGE_HU,
    bone_weight: float = 1.0,
    bone_hu: float = 200.0,
) -> Tensor:
    """Linear attenuation [1/mm] of a CT, any shape, at the energy of the X-ray; differentiable.

    Below 0 HU a voxel is a mixture of air and water, above of water and cortical bone. At the CT's own energy that is
    the definition of the Hounsfield unit, mu = mu_water (1 + HU / 1000); at a lower energy bone gains contrast.

    Args:
        volume: Hounsfield units, floating point.
        energy_kev: effective energy of the X-ray.
        ct_energy_kev: effective energy of the CT.
        max_hu: higher values are cut to this, because streaks and the inside of metal are not what an X-ray measures;
            None leaves them.
        bone_weight: factor on the attenuation above that of ``bone_hu``, to bring bone out (1: physical).
        bone_hu: where bone begins.
    """
    water, bone = linear_attenuation("water", energy_kev), linear_attenuation("bone", energy_kev)
    water_ct, bone_ct = linear_attenuation("water", ct_energy_kev), linear_attenuation("bone", ct_energy_kev)
    pure_bone_hu = 1000 * (bone_ct / water_ct - 1)
    slope = (bone - water) / pure_bone_hu
    hu = volume.clamp(min=-1000.0, max=max_hu)
    attenuation = water * (1 + hu.clamp(max=0) / 1000) + slope * hu.clamp(min=0)
    if bone_weight != 1:
        attenuation = attenuation + (bone_weight - 1) * slope * (hu - max(bone_hu, 0.0)).clamp(min=0)
    return attenuation


def transmission(integrals: Tensor) -> Tensor:
    """Transmitted fractions, in (0, 1] (Beer–Lambert), of attenuation integrals (B, C, rows, columns)."""
    return torch.exp(-integrals)


def log_image(transmitted: Tensor, floor: float = 1e-5) -> Tensor:
    """Attenuation integrals (B, C, rows, columns) of transmitted fractions; bright where much is absorbed.

    Args:
        transmitted: fractions of the unattenuated intensity.
        floor: fractions below it (behind metal, where a detector counts nothing) count as this one.
    """
    return -torch.log(transmitted.clamp(min=floor))


def with_quantum_noise(transmitted: Tensor, photons: float, generator: torch.Generator | None = None) -> Tensor:
    """Transmitted fractions as counted from ``photons`` per unattenuated pixel (Poisson)."""
    return torch.poisson(transmitted * photons, generator=generator) / photons
