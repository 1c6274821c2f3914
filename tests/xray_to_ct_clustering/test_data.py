"""CTs in the protocol, their X-rays, and what is drawn at random about both."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bundles.xray_to_ct_clustering.scripts.data.augmentation import (
    random_deformation,
    random_geometry,
    varied_densities,
    varied_look,
    warped,
    warped_labels,
)
from bundles.xray_to_ct_clustering.scripts.data.pairs import PlainPairs, RandomPairs
from bundles.xray_to_ct_clustering.scripts.data.patient_ct import (
    PatientCT,
    cube,
    cube_labels,
    make_patient,
    pooled,
    read_patient,
)
from bundles.xray_to_ct_clustering.scripts.data.patients import fine_size, load_patients, patient_weights
from bundles.xray_to_ct_clustering.scripts.data.rendering import render_pair, scale_xrays
from bundles.xray_to_ct_clustering.scripts.hounsfield import (
    TISSUES,
    between_dense_voxels,
    body_of,
    hu_to_intensity,
    tissue_map,
)
from shared.io.errors import CaseError
from shared.io.itk_images import to_sitk
from shared.networks.clustering import BiplanarGeometry

GEOMETRY = BiplanarGeometry(rows=32, columns=32, pixel_mm=12.8)
SPOT = (30.0, -20.0, 45.0)  # RAS mm from the middle of the body


def scan(codes: str = "RAS") -> tuple[np.ndarray, np.ndarray]:
    """A cylinder of soft tissue with a dense spot, on a table, 5 mm voxels; array and affine in an axis order."""
    axes = [5.0 * (np.arange(n) - (n - 1) / 2) for n in (60, 52, 50)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    hu = np.full(x.shape, -1000.0)
    hu[(x / 110) ** 2 + (y / 80) ** 2 < 1] = 40.0
    hu[(x / 110) ** 2 + ((y) / 80) ** 2 < 0.2] = -800.0
    hu[np.sqrt((x - SPOT[0]) ** 2 + (y - SPOT[1]) ** 2 + (z - SPOT[2]) ** 2) < 14] = 1200.0
    hu[(np.abs(x) < 140) & (y < -100) & (y > -115)] = 100.0  # the table, 20 mm behind the back
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = [axes[0][0] + 17.0, axes[1][0] - 40.0, axes[2][0] + 300.0]
    change = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = nib.orientations.apply_orientation(hu, change)
    return turned.astype(np.float32), affine @ nib.orientations.inv_ornt_aff(change, hu.shape)


@pytest.fixture(scope="module")
def patient() -> PatientCT:
    return make_patient(to_sitk(*scan()), "patient", 5.0)


def centre_of(values: torch.Tensor, threshold: float) -> np.ndarray:
    """Middle of the voxels above a threshold, mm from the middle of the volume of 5 mm voxels."""
    where = torch.nonzero(values > threshold).double().mean(dim=0).numpy()
    return 5.0 * (where - (np.array(values.shape) - 1) / 2)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
def test_a_point_is_where_it_was_and_the_table_is_gone(codes: str) -> None:
    found = cube(make_patient(to_sitk(*scan(codes)), "patient", 5.0), 64)
    np.testing.assert_allclose(centre_of(found, 600.0), SPOT, atol=2.0)
    assert float(found[:, :8].max()) < -900  # behind the patient, where the table was
    assert float(found[32, 32, 32]) < -700  # the inside is kept
    assert float(cube(make_patient(to_sitk(*scan(codes)), "patient", 5.0), 64, (30.0, -20.0, 45.0))[32, 32, 32]) > 0


def test_the_x_rays_show_the_point_where_the_cameras_see_it(patient: PatientCT) -> None:
    geometry = BiplanarGeometry(rows=64, columns=64, pixel_mm=6.4)
    hu = cube(patient, 64)
    spot = render_pair(hu, 5.0, geometry) - render_pair(hu.clamp(max=40.0), 5.0, geometry)
    point = torch.tensor([*SPOT, 1.0])
    for image, matrix in zip(spot, geometry.projections(), strict=True):
        u, v, depth = (matrix @ point).tolist()
        rows, columns = torch.nonzero(image > 0.5 * image.max()).double().mean(dim=0).tolist()
        assert (2 * columns + 1) / 64 - 1 == pytest.approx(u / depth, abs=0.04)
        assert (2 * rows + 1) / 64 - 1 == pytest.approx(v / depth, abs=0.04)


def test_scaled_x_rays_do_not_depend_on_exposure() -> None:
    image = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    scaled = scale_xrays(image)
    assert torch.allclose(scale_xrays(7 * image - 3), scaled, atol=1e-4)
    assert float(scaled.min()) >= -0.25 and float(scaled.max()) <= 1.25
    assert not scale_xrays(torch.ones(1, 8, 8)).any()


def test_ct_without_a_patient_or_too_small_is_refused() -> None:
    array, affine = scan()
    with pytest.raises(CaseError, match="no body"):
        make_patient(to_sitk(np.full_like(array, -1000.0), affine), "empty", 5.0)
    with pytest.raises(CaseError, match="along each axis"):
        make_patient(to_sitk(array[:, :, :6], affine), "slab", 5.0)


def test_deformation_of_strength_0_changes_nothing_and_otherwise_follows_the_seed(patient: PatientCT) -> None:
    def one(seed: int, strength: float) -> torch.Tensor:
        return warped(patient, random_deformation(patient, 64, strength, torch.Generator().manual_seed(seed)))

    still = one(0, 0.0)
    low, high = 10, 54  # beyond the scan it goes on, where `cube` has air
    assert torch.allclose(still[..., low:high], cube(patient, 64)[..., low:high], atol=1.0)
    assert torch.equal(one(1, 1.0), one(1, 1.0))
    moved = [float((one(seed, 1.0) - still).abs().mean()) for seed in (1, 2)]
    assert min(moved) > 20 and moved[0] != moved[1]


def test_densities_vary_by_a_curve_that_never_falls() -> None:
    hu = torch.linspace(-1000, 1500, 2501)[None, None]
    for seed in range(5):
        changed = varied_densities(hu, 1.0, torch.Generator().manual_seed(seed))[0, 0]
        assert float((changed[1:] - changed[:-1]).min()) > -1e-3
        assert float(changed[0]) == pytest.approx(-1000, abs=1)
    assert torch.allclose(varied_densities(hu, 0.0, torch.Generator()), hu)


def test_other_distances_keep_the_field_at_the_isocentre() -> None:
    varied = random_geometry(GEOMETRY, 1.0, torch.Generator().manual_seed(0))
    assert varied.sdd_mm != GEOMETRY.sdd_mm
    assert varied.isocenter_pixel_mm == pytest.approx(GEOMETRY.isocenter_pixel_mm)
    image = torch.rand(2, 16, 16)
    assert torch.allclose(varied_look(image, 0.0, torch.Generator()), image, atol=1e-6)


def test_pairs_follow_seed_epoch_and_index(patient: PatientCT, tmp_path: Path) -> None:
    def pairs(**options: int) -> RandomPairs:
        folder = tmp_path if options.get("variants") else None
        return RandomPairs([patient], 3, (16, 16, 16), 20.0, GEOMETRY, cache_dir=folder, **options)

    items = [pairs()[(1, 0)], pairs()[(1, 0)], pairs()[(1, 1)], pairs()[(2, 0)], pairs(seed=1)[(1, 0)]]
    assert torch.equal(items[0]["image"], items[1]["image"]) and torch.equal(items[0]["label"], items[1]["label"])
    assert all(not torch.equal(items[0]["label"], other["label"]) for other in items[2:])
    kept = pairs(variants=4)
    first, again = kept[(1, 0)], pairs(variants=4)[(1, 0)]  # made, then read
    assert torch.equal(first["image"], again["image"]) and first["case"] == "patient"
    assert len(list(tmp_path.glob("pair_*.npz"))) == 1
    assert torch.equal(kept[(2, 1)]["label"], first["label"])  # the fifth pair of four variants
    assert not torch.equal(kept[(2, 1)]["image"], first["image"])  # looks different
    assert first["label"].shape == (1, 16, 16, 16) and first["image"].shape == (2, 32, 32)


def test_plain_pairs_are_the_patient_as_it_is(patient: PatientCT) -> None:
    item = PlainPairs([patient], (16, 16, 16), 20.0, GEOMETRY)[0]
    assert torch.allclose(item["label"][0], hu_to_intensity(pooled(cube(patient, 64), 4)))
    assert torch.allclose(item["projections"], GEOMETRY.projections())


def test_a_bad_ct_is_left_out_and_real_patients_keep_their_share(tmp_path: Path, caplog) -> None:
    array, affine = scan()
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    patients = load_patients(tmp_path, 10.0, phantoms=2, cache_dir=tmp_path / "cache")
    assert [s.case for s in patients] == ["good", "phantom_00000", "phantom_00001"]
    assert "bad is left out" in caplog.text
    again = load_patients(tmp_path, 10.0, phantoms=2, cache_dir=tmp_path / "cache")
    assert all(torch.equal(a.hu, b.hu) and a.middle == b.middle for a, b in zip(patients, again, strict=True))
    np.testing.assert_allclose(patient_weights(patients, 0.6), [0.6, 0.2, 0.2])
    with pytest.raises(CaseError, match="no case nobody"):
        load_patients(tmp_path, 10.0, kept_out=["nobody"])
    with pytest.raises(CaseError, match="no CT"):
        load_patients(None, 10.0)
    for size, fine_mm in (((16, 16, 16), 2.0), ((16, 16, 16), 10.0), ((16, 16, 12), 2.5)):
        with pytest.raises(CaseError, match="a multiple"):
            fine_size(size, 5.0, fine_mm)


def test_tissues_of_a_patient(patient: PatientCT) -> None:
    intensity = hu_to_intensity(cube(patient, 64))
    tissues, body = tissue_map(intensity), body_of(intensity)
    assert body[32, 32, 32] and not body[2, 2, 32]
    assert int(tissues[32, 32, 30]) == TISSUES["lung"]
    assert int(tissues[16, 32, 30]) == TISSUES["soft"]
    assert int(tissues[38, 28, 41]) == TISSUES["bone"]
    assert int(tissues[2, 2, 32]) == TISSUES["air"]
    assert float((between_dense_voxels(intensity) == body).float().mean()) > 0.97


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> PatientCT:
    """The scan, its dense spot labelled 7 in a label map on another grid."""
    folder = tmp_path_factory.mktemp("labelled")
    array, affine = scan("LPS")
    nib.save(nib.Nifti1Image(array, affine), folder / "ct.nii.gz")
    array, affine = scan()
    spot = np.where(array > 1000, 7, 0).astype(np.uint8)[10:, 5:]
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [10, 5, 0]
    nib.save(nib.Nifti1Image(spot, shifted), folder / "labels.nii.gz")
    return read_patient(folder / "ct.nii.gz", "ct", 5.0, folder / "labels.nii.gz")


def test_labels_of_another_grid_lie_on_their_structure(labelled: PatientCT) -> None:
    hu, labels = cube(labelled, 64), cube_labels(labelled, 64)
    assert set(labels.unique().tolist()) == {0, 7}
    np.testing.assert_allclose(centre_of(labels, 6), centre_of(hu, 1000), atol=2.0)
    assert float((hu > 900)[labels == 7].float().mean()) > 0.9


def test_labels_are_deformed_with_the_patient(labelled: PatientCT) -> None:
    for seed in range(3):
        deformation = random_deformation(labelled, 64, 1.0, torch.Generator().manual_seed(seed))
        hu, labels = warped(labelled, deformation), warped_labels(labelled, deformation)
        np.testing.assert_allclose(centre_of(labels, 6), centre_of(hu, 1000), atol=2.5)


def test_pairs_bring_regions_also_from_the_cache(labelled: PatientCT, patient: PatientCT, tmp_path: Path) -> None:
    pairs = RandomPairs([labelled], 2, (32,) * 3, 10.0, GEOMETRY, variants=2, cache_dir=tmp_path)
    first, again = pairs[0, 0], pairs[0, 0]
    assert first["regions"].shape == (32, 32, 32) and 7 in first["regions"]
    assert torch.equal(first["regions"], again["regions"]) and again["regions"].dtype == torch.uint8
    plain = PlainPairs([patient, labelled], (32,) * 3, 10.0, GEOMETRY)
    assert not plain[0]["regions"].any() and plain[1]["regions"].any()


def test_label_maps_are_found_by_name_and_kept(tmp_path: Path) -> None:
    array, affine = scan()
    for folder, values in (("cts", array), ("labels", (array > 1000).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(values, affine), tmp_path / folder / "a.nii.gz")
    options = dict(dataset_dir=tmp_path / "cts", fine_mm=5.0, cache_dir=tmp_path / "cache")
    (plain,) = load_patients(**options)
    for _ in range(2):  # the second time from the cache
        (found,) = load_patients(**options, labels_dir=tmp_path / "labels")
        assert plain.labels is None and found.labels is not None and int(found.labels.sum()) > 50
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(CaseError, match="no label map"):
        read_patient(tmp_path / "cts" / "a.nii.gz", "a", 5.0, tmp_path / "labels" / "a.nii.gz")
