from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from scipy.spatial.transform import Rotation

from shared.io.cases import find_cases
from shared.io.image_files import read_grid
from shared.io.itk_images import to_sitk, write_image
from shared.io.writers import SaveCased, write_nifti
from tests.io.test_cases import touch
from tests.io.test_volumes import write_series

CONTENT = np.arange(24).reshape(2, 3, 4)


def oblique():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() * [2.0, 3.0, 4.0]
    affine[:3, 3] = 10.0, -20.0, 33.0
    return affine


def save(folder, case, source="ct.nii.gz", affine=None, **options):
    affine = torch.as_tensor(np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
    meta = {"filename_or_obj": str(source), "original_affine": affine}
    image = MetaTensor(torch.from_numpy(CONTENT)[None].float(), affine=affine, meta=meta)
    SaveCased("pred", folder, "seg", **options)({"case": case, "pred": image})


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_every_format_is_written_whole(tmp_path, suffix):
    save(tmp_path / "out", "a", output_ext=suffix)
    array, affine = read_grid(tmp_path / "out" / f"a_seg{suffix}")
    assert array.dtype == np.uint8 and np.array_equal(array, CONTENT)
    assert np.allclose(affine, np.diag([2, 3, 4, 1])) and len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("output_dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_files_of_itk_are_those_of_simpleitk(tmp_path, suffix, output_dtype):
    """The same values of the same type on the same oblique grid."""
    save(tmp_path, "a", affine=oblique(), output_ext=suffix, output_dtype=output_dtype)
    write_image(to_sitk(CONTENT.astype(output_dtype), oblique()), tmp_path / f"expected{suffix}")
    found, expected = (sitk.ReadImage(str(tmp_path / f"{name}{suffix}")) for name in ("a_seg", "expected"))
    assert found.GetPixelID() == expected.GetPixelID() and found.GetSize() == expected.GetSize()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, what)(), getattr(expected, what)(), atol=1e-6)


def test_arrays_become_nifti_in_place_and_in_their_type(tmp_path):
    for values in (CONTENT.astype(np.int16), torch.from_numpy(CONTENT).float()):
        write_nifti(values, torch.as_tensor(oblique()), tmp_path / "new" / "a.nii.gz")
        image = nibabel.load(tmp_path / "new" / "a.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), np.asarray(values))
        assert image.get_data_dtype() == np.asarray(values).dtype and image.header.get_xyzt_units()[0] == "mm"
        for affine in (image.get_sform(), image.get_qform()):
            np.testing.assert_allclose(affine, oblique(), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "suffix"),
    [("a/ct.NRRD", ".nrrd"), ("ct.nhdr", ".nrrd"), ("ct.mha", ".nii.gz"), ("1.2.840.5", ".nii.gz")],
)
def test_the_format_may_be_that_of_the_input(tmp_path, source, suffix):
    save(tmp_path, "a", source, output_ext="input")
    assert [path.name for path in tmp_path.iterdir()] == [f"a_seg{suffix}"]


@pytest.mark.parametrize("output_dtype", ["int16", "float32"])
def test_the_type_of_the_values_is_as_asked(tmp_path, output_dtype):
    save(tmp_path, "a", output_dtype=output_dtype)
    assert nibabel.load(tmp_path / "a_seg.nii.gz").get_data_dtype() == np.dtype(output_dtype)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["p1/ct.nii.gz", "p2/ct.nii.gz"], ["p1_ct", "p2_ct"]),
        (["p01.a.nii.gz", "p01.b.nii.gz"], ["p01.a", "p01.b"]),
        (["1.2.840.1/", "1.2.840.2/"], ["1.2.840.1", "1.2.840.2"]),
        (["Frau Müller/ct.mha", "胸 部/ct.mha"], ["Frau Müller_ct", "胸 部_ct"]),
        (["a.nii.gz", "a.NRRD", "a.mha"], ["a_mha", "a_nii_gz", "a_nrrd"]),
    ],
)
def test_every_case_keeps_its_own_file(tmp_path: Path, files: list[str], names: list[str]) -> None:
    """Two patients with equal file names, dots, identifiers as folder names, letters of other alphabets."""
    for name in files:
        if name.endswith("/"):
            write_series(tmp_path / "in" / name)
        else:
            touch(tmp_path / "in" / name)
    cases = find_cases(tmp_path / "in", "volume")
    for case in cases:
        save(tmp_path / "out", case["case"], case["image"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}_seg.nii.gz" for name in names]


def test_label_servers_recognise_what_they_leave_out(tmp_path):
    assert isinstance(SaveCased("pred", tmp_path, "seg"), SaveImaged)


def test_a_failing_write_leaves_nothing(tmp_path, monkeypatch):
    def broken(image, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(nibabel, "save", broken)
    with pytest.raises(RuntimeError, match="no space left"):
        save(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []
