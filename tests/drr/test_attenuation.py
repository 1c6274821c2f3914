"""Hounsfield units to attenuation and detector images."""

from __future__ import annotations

import math

import pytest
import torch

from shared.drr import (
    Detector,
    hu_to_attenuation,
    linear_attenuation,
    log_image,
    render,
    transmission,
    with_quantum_noise,
)
from tests.drr.volumes import random_poses


def test_tabulated_values_and_between() -> None:
    assert linear_attenuation("water", 60) == pytest.approx(0.02059)
    assert linear_attenuation("bone", 100) == pytest.approx(0.1855 * 1.92 / 10)
    assert linear_attenuation("water", 10) == pytest.approx(0.5329)
    # NIST XCOM gives 0.1929 cm2/g for water at 70 keV
    assert linear_attenuation("water", 70) == pytest.approx(0.01929, rel=0.01)
    assert linear_attenuation("bone", 45) < linear_attenuation("bone", 40)


@pytest.mark.parametrize(("material", "energy"), [("steel", 70), ("water", 9), ("bone", 300)])
def test_unknown_material_or_energy_is_refused(material: str, energy: float) -> None:
    with pytest.raises(ValueError):
        linear_attenuation(material, energy)


def test_hounsfield_units_mean_what_they_are_defined_as() -> None:
    hu = torch.tensor([-1000.0, -2000.0, 0.0, 60.0, -100.0, 1000.0], dtype=torch.float64)
    water = linear_attenuation("water", 70)
    expected = water * torch.tensor([0.0, 0.0, 1.0, 1.06, 0.9, 2.0], dtype=torch.float64)
    assert torch.allclose(hu_to_attenuation(hu, 70), expected)


def test_pure_bone_has_its_attenuation_at_any_energy() -> None:
    ct = linear_attenuation("bone", 70) / linear_attenuation("water", 70)
    hu = torch.tensor([1000 * (ct - 1), 0.0], dtype=torch.float64)
    for energy in (40.0, 70.0, 120.0):
        bone, water = hu_to_attenuation(hu, energy).tolist()
        assert bone == pytest.approx(linear_attenuation("bone", energy))
        assert water == pytest.approx(linear_attenuation("water", energy))


def test_metal_is_cut_and_bone_weighted() -> None:
    metal = torch.tensor([20000.0, 3071.0])
    cut, edge = hu_to_attenuation(metal).tolist()
    assert cut == edge
    assert hu_to_attenuation(metal, max_hu=None)[0] > 5 * edge
    hu = torch.tensor([-500.0, 0.0, 200.0, 1200.0], dtype=torch.float64)
    plain, weighted = hu_to_attenuation(hu), hu_to_attenuation(hu, bone_weight=3)
    assert torch.equal(plain[:3], weighted[:3])  # soft tissue stays
    assert (weighted[3] - plain[2]).item() == pytest.approx(3 * (plain[3] - plain[2]).item())


def test_attenuation_is_differentiable() -> None:
    hu = torch.tensor([-700.0, 30.0, 400.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: hu_to_attenuation(x, 55, bone_weight=2), (hu,))


def test_beer_lambert_through_a_water_box() -> None:
    volume = hu_to_attenuation(torch.zeros(1, 20, 20, 20, dtype=torch.float64), 60)
    affine = torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = -47.5  # a cube of 100 mm about the origin
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = -500
    integral = render(volume, pose, Detector(1, 1, (1.0, 1.0), 1000.0), affine)
    assert integral.item() == pytest.approx(2.059)
    assert transmission(integral).item() == pytest.approx(math.exp(-2.059))
    assert torch.allclose(log_image(transmission(integral)), integral)


def test_log_image_survives_what_nothing_passes() -> None:
    assert log_image(torch.zeros(1)).item() == pytest.approx(-math.log(1e-5))


def test_quantum_noise_has_the_variance_of_counts() -> None:
    fraction = torch.full((1, 1, 200, 200), 0.25)
    noisy = with_quantum_noise(fraction, 1000, torch.Generator().manual_seed(0))
    assert noisy.mean().item() == pytest.approx(0.25, rel=0.01)
    assert noisy.var().item() == pytest.approx(0.25 / 1000, rel=0.05)
    assert torch.equal(noisy, with_quantum_noise(fraction, 1000, torch.Generator().manual_seed(0)))


def test_poses_of_the_tests_are_rigid() -> None:
    pose = random_poses(0, 3)
    assert torch.allclose(pose[:, :3, :3] @ pose[:, :3, :3].mT, torch.eye(3, dtype=torch.float64).expand(3, 3, 3))
