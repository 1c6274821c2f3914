"""The check of every CT: what is put right and said, what is refused, and that no real CT is touched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from shared.io.body_check import is_upright
from shared.io.cases import find_cases
from shared.io.ct_check import CheckCTd, check_body, in_hu
from shared.io.errors import CaseError
from shared.io.example_ct import example_ct
from shared.io.intake import case_facts, with_facts
from shared.io.volumes import VolumeReader
from shared.phantoms.torso.phantom import make_torso
from tests.io.test_volumes import load, multi_frame, write_series

DATA = os.environ.get("BUNDLES_DATA")


def read(path: Path, step: int = 1) -> MetaTensor:
    """Every ``step``-th voxel of each row and column of a CT (1, X, Y, Z)."""
    array, meta = VolumeReader().get_data(path)
    affine = meta["affine"] @ np.diag([step, step, 1.0, 1.0])
    meta = {"filename_or_obj": str(path), "intake": meta["intake"], "modality": meta["modality"]}
    return MetaTensor(torch.as_tensor(array[::step, ::step].copy())[None], affine=torch.as_tensor(affine), meta=meta)


@pytest.fixture(scope="module")
def chest() -> MetaTensor:
    return read(example_ct(), 3)


@pytest.fixture(scope="module")
def phantom() -> MetaTensor:
    torso = make_torso(3, (3, 3, 3), ("T9", "L3"), False, "RAS", "spine")
    return MetaTensor(torch.as_tensor(torso.image)[None], affine=torch.as_tensor(torso.affine))


@pytest.fixture(params=["chest", "phantom"])
def ct(request: pytest.FixtureRequest) -> MetaTensor:
    return request.getfixturevalue(request.param)


def changed(ct: MetaTensor, values: torch.Tensor, **meta: str) -> MetaTensor:
    return MetaTensor(values, affine=ct.affine, meta={**ct.meta, **meta})


def test_hu_stay_as_stored(ct: MetaTensor, caplog: pytest.LogCaptureFixture) -> None:
    checked = CheckCTd("image")({"image": changed(ct, ct.as_tensor().clone())})["image"]
    assert torch.equal(checked.as_tensor(), ct.as_tensor())
    assert case_facts(checked)["hu"] == "as stored" and not case_facts(checked)["warnings"] and not caplog.text


@pytest.mark.parametrize("clamped", [False, True])
def test_a_shift_of_1024_is_put_right_and_said(ct: MetaTensor, clamped: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Unsigned values of a CT without its rescale intercept, below 0 cut off or not."""
    raw = ct.as_tensor() + 1024
    fixed = in_hu(changed(ct, raw.clamp(min=0) if clamped else raw))
    inside = ct.as_tensor() > -1000
    assert torch.equal(fixed.as_tensor()[inside].float(), ct.as_tensor()[inside].float())
    assert "1024 subtracted" in case_facts(fixed)["hu"] and "1024 subtracted" in caplog.text
    document = with_facts({"case": "a", "warnings": ["thick"]}, fixed)
    assert document["hu"].startswith("1024") and len(document["warnings"]) == 2
    assert document["warnings"][-1] == "thick"


WRONG = {
    "8 bit": lambda v: ((v.clamp(-1000, 1000) + 1000) / 2000 * 255).round(),
    "0 to 1": lambda v: (v.clamp(-1000, 1000) + 1000) / 2000,
    "standard scores": lambda v: (v - v.mean()) / v.std(),
    "12 bit, stretched": lambda v: (v.clamp(-1000, 1000) + 1000) / 2000 * 4095,
    "a PET": lambda v: (v + 1024).clamp(min=0) ** 2 / 100,
    "shifted by 500": lambda v: v + 1524,
    "shifted down": lambda v: v - 2048,
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_ct_in_hu_is_refused(ct: MetaTensor, kind: str) -> None:
    with pytest.raises(CaseError, match="is no CT in HU"):
        in_hu(changed(ct, WRONG[kind](ct.as_tensor().float())))


@pytest.mark.parametrize(("modality", "says"), [("MR", "an MR"), ("PT", "a PET")])
def test_a_ct_that_calls_itself_otherwise_is_refused(chest: MetaTensor, modality: str, says: str) -> None:
    with pytest.raises(CaseError, match=f"is {says} by its header"):
        in_hu(changed(chest, chest.as_tensor(), modality=modality))


def test_the_modality_comes_from_dicom(tmp_path: Path) -> None:
    assert load(write_series(tmp_path / "a", Modality="MR")).meta["modality"] == "MR"
    assert load(multi_frame(tmp_path / "b.dcm")).meta["modality"] == "CT"


@pytest.mark.parametrize("axes", [(3,), (2, 3)])
def test_an_upside_down_chest_is_refused(chest: MetaTensor, axes: tuple[int, ...]) -> None:
    """The array turned under its header, as a mirror or by half a circle."""
    with pytest.raises(CaseError, match="seems to be upside down"):
        check_body(changed(chest, chest.as_tensor().flip(axes)), 15)


def test_a_chest_tells_which_way_up_it_lies_and_a_piece_of_spine_does_not(chest: MetaTensor) -> None:
    assert is_upright(chest) is True
    assert is_upright(changed(chest, chest.as_tensor().flip(3))) is False
    assert is_upright(chest[:, 60:110, 60:110]) is None


@pytest.mark.parametrize("factor", [1 / 3, 3.0])
def test_a_voxel_size_that_makes_an_impossible_body_is_refused(chest: MetaTensor, factor: float) -> None:
    wrong = MetaTensor(chest.as_tensor(), affine=chest.affine @ np.diag([factor, factor, 1, 1]), meta=dict(chest.meta))
    with pytest.raises(CaseError, match="voxel size is wrong"):
        check_body(wrong, 15)


@pytest.mark.parametrize("axis", [1, 3])
def test_a_thin_volume_is_refused(chest: MetaTensor, axis: int) -> None:
    with pytest.raises(CaseError, match="mm in size; give a CT of at least 15 mm"):
        check_body(chest.narrow(axis, 40, 4), 15)


def real_cts() -> list[Path]:
    if DATA is None:
        return []
    found = [case["image"] for name in ("torso", "neck", "hips") for case in find_cases(f"{DATA}/{name}", "volume")]
    heads = Path(DATA) / "head_neck" / "openkbp" / "train" / "pt_116" / "ct.nii.gz"
    return [*map(Path, found), *sorted(Path(DATA).glob("xray_ct/*/*_ct.nii.gz")), heads]


@pytest.mark.skipif(not DATA, reason="BUNDLES_DATA names no folder of real images")
def test_no_real_ct_is_refused_or_changed_and_upside_down_ones_are_found() -> None:
    touched, found, lungs = {}, [], []
    for path in real_cts():
        ct = read(path)
        try:
            checked = in_hu(ct)
            check_body(checked, 10)
        except CaseError as error:
            touched[path.name] = str(error)
            continue
        if not torch.equal(checked.as_tensor(), ct.as_tensor()) or case_facts(checked)["warnings"]:
            touched[path.name] = str(case_facts(checked))
        if path.name.startswith(("chest", "neck", "head", "abdomen_C")):
            lungs.append(path.name)
            try:
                check_body(changed(ct, ct.as_tensor().flip(3)), 10)
            except CaseError:
                found.append(path.name)
    assert touched == {}
    assert len(found) >= 15, sorted(set(lungs) - set(found))
