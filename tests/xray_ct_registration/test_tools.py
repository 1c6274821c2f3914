"""The tools: geometry into a DICOM file, a look into a PyTorch file."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from bundles.xray_ct_registration.scripts.add_geometry import add_geometry
from bundles.xray_ct_registration.scripts.inspect_pt import inspect_pt
from shared.io.errors import CaseError
from tests.bundles.processes import run

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "xray_ct_registration"


def write_dicom(path: Path, preamble: bool = True, **tags) -> Path:
    """A computed radiograph of 60 x 50 pixels without geometry, with a private tag and a sequence."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = generate_uid(), generate_uid(), "CR"
    data.PatientName = "Müller^Änne"
    data.SpecificCharacterSet = "ISO_IR 100"
    data.PhotometricInterpretation, data.SamplesPerPixel, data.PixelRepresentation = "MONOCHROME2", 1, 0
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 60, 50, 16, 12, 11
    y, x = np.mgrid[:60, :50]
    data.PixelData = (30 * y + 20 * x).astype(np.uint16).tobytes()
    data.private_block(0x0019, "SOMEONE", create=True).add_new(1, "LO", "kept")
    data.AnatomicRegionSequence = [Dataset()]
    data.AnatomicRegionSequence[0].CodeValue = "T-D3000"
    for name, value in tags.items():
        setattr(data, name, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    if not preamble:
        data = pydicom.dcmread(path)
        plain = Dataset({element.tag: element for element in data})
        plain.save_as(path, implicit_vr=True, little_endian=True)
    return path


@pytest.mark.parametrize("preamble", [True, False])
def test_geometry_is_added_and_nothing_else_changes(tmp_path, preamble):
    source = write_dicom(tmp_path / "a.dcm", preamble)
    before = source.read_bytes()
    written = add_geometry(
        str(source), str(tmp_path / "b.dcm"), sdd=1020, sod=850, pixel_spacing=[0.2, 0.15], primary_angle=-30
    )
    assert written == str(tmp_path / "b.dcm") and source.read_bytes() == before
    old, new = (pydicom.dcmread(path, force=True) for path in (source, written))
    assert {element.keyword for element in new if element.tag not in old} == {
        "DistanceSourceToDetector",
        "DistanceSourceToPatient",
        "ImagerPixelSpacing",
        "EstimatedRadiographicMagnificationFactor",
        "PositionerPrimaryAngle",
    }
    assert all(new[element.tag] == element for element in old)
    assert (new.DistanceSourceToDetector, new.DistanceSourceToPatient) == (1020, 850)
    assert list(new.ImagerPixelSpacing) == [0.2, 0.15] and new.PositionerPrimaryAngle == -30
    assert new.EstimatedRadiographicMagnificationFactor == pytest.approx(1.2)


def test_the_input_is_changed_only_when_asked(tmp_path):
    source = write_dicom(tmp_path / "a.dcm")
    for options in ({}, {"output": str(source)}, {"output": str(tmp_path / "b.dcm"), "in_place": True}):
        with pytest.raises(CaseError):
            add_geometry(str(source), sdd=1000, **options)
    assert "DistanceSourceToDetector" not in pydicom.dcmread(source)
    add_geometry(str(source), sdd=1000, in_place=True)
    assert pydicom.dcmread(source).DistanceSourceToDetector == 1000
    other = write_dicom(tmp_path / "b.dcm")
    with pytest.raises(CaseError, match="exists already"):
        add_geometry(str(source), str(other), sdd=1000)
    add_geometry(str(source), str(other), sdd=1100, overwrite=True)
    assert pydicom.dcmread(other).DistanceSourceToDetector == 1100


@pytest.mark.parametrize(
    "says, options",
    [
        ("nothing to add", {}),
        ("--sdd: is -1", {"sdd": -1}),
        ("--sdd: is nan", {"sdd": float("nan")}),
        ("--sdd: is far", {"sdd": "far"}),
        ("--sdd: is True", {"sdd": True}),
        ("--sod: .*1100 mm with the detector at 1000 mm", {"sdd": 1000, "sod": 1100}),
        (r"--pixel_spacing: is .*; give the distance of rows", {"pixel_spacing": (1, 2, 3)}),
        ("--pixel_spacing: is 0", {"pixel_spacing": 0}),
        ("--secondary_angle: is 120", {"secondary_angle": 120}),
    ],
)
def test_implausible_values_are_refused(tmp_path, says, options):
    source = write_dicom(tmp_path / "a.dcm")
    with pytest.raises(CaseError, match=says):
        add_geometry(str(source), str(tmp_path / "b.dcm"), **options)
    assert not (tmp_path / "b.dcm").exists()


def test_only_radiographs_are_taken(tmp_path):
    (tmp_path / "text.dcm").write_text("text")
    for path, says in (
        (tmp_path / "text.dcm", "is no DICOM file"),
        (tmp_path / "none.dcm", "no such file"),
        (write_dicom(tmp_path / "ct.dcm", Modality="CT"), "is no radiograph"),
    ):
        with pytest.raises(CaseError, match=says):
            add_geometry(str(path), str(tmp_path / "b.dcm"), sdd=1000)


def test_the_commands(tmp_path):
    source = write_dicom(tmp_path / "a.dcm")
    tool = [sys.executable, "-m", "scripts.add_geometry", "--input", str(source), "--output", str(tmp_path / "b.dcm")]
    done = run([*tool, "--sdd", "1020", "--pixel_spacing", "[0.2,0.2]"], BUNDLE)
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / "b.dcm")
    refused = run([sys.executable, "-m", "scripts.inspect_pt", str(source)], BUNDLE)
    assert refused.returncode == 1 and refused.stdout.count("\n") == 1 and "is no PyTorch file" in refused.stdout


def test_a_checkpoint_is_described(tmp_path):
    values = torch.tensor([[1.0, 2.0, float("nan")], [3.0, float("inf"), 6.0]])
    content = {
        "model": {"weight": values, "steps": torch.tensor(7), "half": torch.ones(2, dtype=torch.float16)},
        "history": [torch.zeros(0, 4), {"loss": 0.5}],
        "name": "a\nb",
        "flags": torch.tensor([True, False]),
    }
    torch.save(content, tmp_path / "a.pt")
    lines = inspect_pt(str(tmp_path / "a.pt")).splitlines()
    text = {line.split()[0]: line for line in lines}
    weight = text["model/weight"]
    assert "2 x 3  float32" in weight and "min 1  max 6  mean 3" in weight and "2 NaN or infinite" in weight
    assert "scalar  int64" in text["model/steps"] and "float16" in text["model/half"]
    assert "empty" in text["history/0"] and "float  0.5" in text["history/1/loss"] and r"'a\nb'" in text["name"]
    assert "mean 0.5" in text["flags"] and lines[-1].startswith("5 tensors, 11 values")
    torch.save(torch.ones(3), tmp_path / "b.pt")
    assert "(whole file)" in inspect_pt(str(tmp_path / "b.pt"))


class Touch:
    """Unpickled carelessly, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"a": Touch(tmp_path / "touched")}, tmp_path / "code.pt")
    (tmp_path / "legacy.pt").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.ts"))
    torch.save(torch.ones(100), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:300])
    (tmp_path / "text.pt").write_text("text")
    says = {
        "code.pt": "could run code",
        "legacy.pt": "could run code",
        "module.pt": "could run code",
        "script.ts": "TorchScript",
        "cut.pt": "cut off",
        "text.pt": "is no PyTorch file",
        "none.pt": "no such file",
    }
    for name, words in says.items():
        with pytest.raises(CaseError, match=words) as error:
            inspect_pt(str(tmp_path / name))
        assert "\n" not in str(error.value) and str(tmp_path / name) in str(error.value)
    assert not (tmp_path / "touched").exists()
