import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from shared.io.image_files import read_grid
from shared.io.writers import AtomicITKWriter, AtomicNibabelWriter, AtomicVolumeWriter


def save(folder, writer, suffix):
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    meta = {"filename_or_obj": "case.nii.gz", "original_affine": affine}
    image = MetaTensor(torch.arange(24).view(1, 2, 3, 4).float(), affine=affine, meta=meta)
    name = f"{writer.__module__}.{writer.__name__}"
    SaveImage(folder, "seg", suffix, "uint8", resample=False, separate_folder=False, writer=name, print_log=False)(
        image
    )
    return folder / f"case_seg{suffix}"


def test_files_are_written_whole(tmp_path):
    path = save(tmp_path, AtomicNibabelWriter, ".nii.gz")
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj), np.arange(24).reshape(2, 3, 4))
    assert np.allclose(image.affine, np.diag([2, 3, 4, 1]))
    save(tmp_path, AtomicITKWriter, ".nrrd")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case_seg.nii.gz", "case_seg.nrrd"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_writer_for_every_format(tmp_path, suffix):
    path = save(tmp_path, AtomicVolumeWriter, suffix)
    array, affine = read_grid(path)
    assert array.dtype == np.uint8 and np.array_equal(array, np.arange(24).reshape(2, 3, 4))
    assert np.allclose(affine, np.diag([2, 3, 4, 1])) and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failing_write_leaves_nothing(tmp_path, monkeypatch):
    def broken(image, path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(nibabel, "save", broken)
    with pytest.raises(RuntimeError, match="no space left"):
        save(tmp_path, AtomicNibabelWriter, ".nii.gz")
    assert list(tmp_path.iterdir()) == []
