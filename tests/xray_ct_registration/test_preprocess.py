"""Preprocessing of CTs: labels, cropping, mirroring, places of points, co-registration, and what a user sees of it."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import Compose
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bundles.xray_ct_registration.scripts.bones import separate_bones
from bundles.xray_ct_registration.scripts.coregistration import coregister, select_labels
from bundles.xray_ct_registration.scripts.ct_files import ct_cases, read_ct, read_labels
from bundles.xray_ct_registration.scripts.prepared_ct import PreparedCt, clean, crop, mirror, split_sides
from bundles.xray_ct_registration.scripts.preprocess import PreprocessCase
from bundles.xray_ct_registration.scripts.preprocess_results import SavePrepared, preprocess_cases
from bundles.xray_ct_registration.scripts.transform_file import convert_points, read_transform
from shared.engines.case_evaluator import CaseDataset
from shared.geometry.frames import transform_points
from shared.io.errors import CaseError
from shared.io.itk_images import covering_grid, mirror_image, mirror_matrix, move_image, resample
from tests.bundles.processes import run
from tests.xray_ct_registration.femurs import LEFT, METAL, RIGHT, Hips, fit_head, hips, surface_points

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "xray_ct_registration"
CONFIG = next(iter(sorted(BUNDLE.glob("configs*/preprocess.json"))))
SPACING_MM = 2.0


def write(folder: Path, case: str, data: Hips, suffix: str = "_seg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(data.ct, str(folder / f"{case}.nii.gz"))
    sitk.WriteImage(data.mask, str(folder / f"{case}{suffix}.nii.gz"))


def process(folder: Path, output: Path, table: Path | None = None, **settings) -> None:
    """The workflow in this process; raises SystemExit where a case failed."""
    cases = ct_cases(folder, table=table)
    chain = Compose([PreprocessCase(cases, spacing_mm=SPACING_MM, **settings), SavePrepared(output)])
    preprocess_cases(CaseDataset(cases, chain), output)


def report(output: Path, case: str) -> dict:
    return json.loads((output / f"{case}_report.json").read_text())


def prepared_of(data: Hips) -> PreparedCt:
    return PreparedCt("a", "a.nii.gz", data.ct, data.mask)


def head_in(output: Path, case: str, near: np.ndarray, label: int = LEFT) -> np.ndarray:
    """Centre of the sphere fitted to the femoral head of a written label map, LPS mm."""
    mask = sitk.ReadImage(str(output / f"{case}_seg.nii.gz"))
    found = fit_head(surface_points(sitk.GetArrayFromImage(mask) == label, mask), near)
    assert found is not None, f"no femoral head in {case}"
    return found[0]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, Path, dict[str, Hips], str]:
    """The whole workflow as a user runs it: two patients with two hips each, and files that cannot be used."""
    root = tmp_path_factory.mktemp("preprocess")
    data = {
        "anna": hips(0, islands=True, nail=True, spacing=(2.2, 2.4, 3.0)),
        "bert": hips(1, 1.04, (8, -6, 10), (20, 10, -400), (2.4, 2.2, 3.2), oblique_deg=12, islands=True),
    }
    for case, item in data.items():
        write(root / "in", case, item)
    (root / "in" / "cut.nii.gz").write_bytes((root / "in" / "anna.nii.gz").read_bytes()[:5000])
    mask_only = sitk.Image(data["anna"].mask) * 0
    sitk.WriteImage(data["anna"].ct, str(root / "in" / "empty.nii.gz"))
    sitk.WriteImage(mask_only, str(root / "in" / "empty_seg.nii.gz"))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIG), "--bundle_root", str(BUNDLE)]
    command += ["--dataset_dir", str(root / "in"), "--output_dir", str(root / "out"), "--spacing_mm", str(SPACING_MM)]
    command += ["--right_labels", f"[{RIGHT}]", "--left_labels", f"[{LEFT}]"]
    finished = run(command, BUNDLE)
    assert finished.returncode == 1, finished.stdout[-3000:]
    return root / "in", root / "out", data, finished.stdout


PARTS = [("anna", "left"), ("anna", "right"), ("bert", "left"), ("bert", "right")]


def test_bad_cases_cost_one_line_each_and_the_others_are_kept(done):
    _, output, _, log = done
    lines = [line for line in log.splitlines() if "cut.nii.gz: is no whole NIfTI file" in line]
    assert len(lines) == 1 and "Traceback" not in log
    assert "empty.nii.gz: has none of the labels" in log
    assert "2 of 4 cases failed: cut, empty" in log
    with open(output / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [f"{case}_{side}" for case, side in PARTS]
    assert not list(output.glob(".part*"))


@pytest.mark.parametrize("case, side", PARTS)
def test_every_label_is_one_component_on_a_centred_isotropic_grid(done, case, side):
    _, output, data, _ = done
    name = f"{case}_{side}"
    ct, mask = (sitk.ReadImage(str(output / f"{name}{suffix}.nii.gz")) for suffix in ("", "_seg"))
    np.testing.assert_allclose(ct.GetSpacing(), [SPACING_MM] * 3, atol=1e-5)
    np.testing.assert_allclose(ct.GetDirection(), np.eye(3).ravel(), atol=1e-6)
    center = ct.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in ct.GetSize()])
    assert np.abs(center).max() <= SPACING_MM / 2
    assert mask.GetSize() == ct.GetSize() and mask.GetOrigin() == ct.GetOrigin()
    labels = sitk.GetArrayFromImage(mask)
    expected = {0, LEFT, METAL} if name == "anna_right" else {0, LEFT}
    assert set(np.unique(labels)) == expected
    for label in set(np.unique(labels)) - {0}:
        assert ndimage.label(labels == label)[1] == 1
    hu = sitk.GetArrayFromImage(ct)
    assert hu[labels == LEFT].mean() > 300 > 100 > hu[(labels == 0) & (hu > -500)].mean(), "the labels left their CT"
    steps = {step["step"]: step for step in report(output, name)["steps"]}
    assert len(steps["clean"]["labels"]) == len(data[case].heads) + (case == "anna")
    assert all(entry["components"] > 3 and entry["removed_voxels"] > 3 for entry in steps["clean"]["labels"])


@pytest.mark.parametrize("case, side", PARTS)
def test_points_go_to_the_preprocessed_ct_and_back(done, case, side):
    source, output, data, _ = done
    path = output / f"{case}_{side}_transform.json"
    record = read_transform(path)
    assert record["mirrored"] == (side == "right") and record["source"] == str(source / f"{case}.nii.gz")
    assert np.sign(np.linalg.det(record["original_to_preprocessed"])) == (-1 if side == "right" else 1)
    points = np.random.default_rng(0).uniform(-300, 300, (50, 3))
    there = convert_points(path, points.tolist())
    back = convert_points(path, there, to="original")
    assert np.abs(np.array(back) - points).max() < 0.1
    product = np.eye(4)
    for move in record["moves"]:
        product = np.array(move["matrix"]) @ product
    np.testing.assert_allclose(product, record["original_to_preprocessed"], atol=1e-9)
    # The truth: the head that the phantom was made with lies where the label map of the result has it.
    head = np.array(convert_points(path, [data[case].heads[side].tolist()])[0])
    assert np.linalg.norm(head_in(output, f"{case}_{side}", head) - head) < 1.0


@pytest.mark.parametrize("case, side", PARTS[1:])
def test_femoral_heads_meet_those_of_the_reference(done, case, side):
    _, output, _, _ = done
    assert not report(output, f"{case}_{side}")["coregistration_failed"], report(output, f"{case}_{side}")["warnings"]
    reference = head_in(output, "anna_left", np.array(head_of(output, "anna_left", done)))
    moved = head_in(output, f"{case}_{side}", reference)
    assert np.linalg.norm(moved - reference) < 3.0


def head_of(output: Path, name: str, done) -> list[float]:
    case, side = name.split("_")
    return convert_points(output / f"{name}_transform.json", [done[2][case].heads[side].tolist()])[0]


def test_every_case_has_a_picture(done):
    _, output, _, _ = done
    for case, side in PARTS:
        with Image.open(output / f"{case}_{side}_preview.png") as picture:
            assert min(picture.size) > 100 and len(picture.getcolors(1 << 24)) > 50


def test_the_transform_tool_refuses_nonsense(done):
    path = done[1] / "anna_left_transform.json"
    for file, points, to in (
        (path, [[1, 2, 3]], "sideways"),
        (path, [1, 2], "original"),
        (done[1], [[1, 2, 3]], "original"),
    ):
        with pytest.raises(CaseError):
            convert_points(file, points, to)


def test_cleaning_reports_what_it_removed_and_warns_of_much():
    data = hips(islands=True, spacing=(4.0, 4.0, 5.0))
    cleaned = clean(prepared_of(data), [RIGHT, LEFT, 77])
    entry = cleaned.steps[0]["labels"][0]
    array = sitk.GetArrayFromImage(data.mask)
    assert entry["kept_voxels"] + entry["removed_voxels"] == (array == RIGHT).sum() and entry["components"] == 5
    assert any("label 77 does not occur" in text for text in cleaned.warnings)
    array[12:14] = 0  # a fracture
    torn = clean(prepared_of(data).with_labels(array))
    assert any("may have cut it in two" in text for text in torn.warnings)
    with pytest.raises(CaseError, match="has none of the labels"):
        clean(prepared_of(data), [77])


@pytest.mark.parametrize("oblique", [0.0, 14.0])
def test_cropping_leaves_the_padding_in_millimetres(oblique):
    data = hips(spacing=(3.0, 4.0, 5.0), oblique_deg=oblique)
    left = split_sides(clean(prepared_of(data)), [RIGHT], [LEFT])[0]
    cropped = crop(left, [LEFT], padding_mm=7.0)
    index = np.argwhere(sitk.GetArrayFromImage(cropped.mask) == LEFT)[:, ::-1]
    whole = np.argwhere(sitk.GetArrayFromImage(left.mask) == LEFT)[:, ::-1]
    assert len(index) == len(whole)
    size, before = np.array(cropped.ct.GetSize()), np.array(data.ct.GetSize())
    padding = np.ceil(7.0 / np.array(data.ct.GetSpacing()))
    assert (index.min(0) == np.minimum(padding, whole.min(0))).all()
    assert (size - 1 - index.max(0) == np.minimum(padding, before - 1 - whole.max(0))).all()
    assert any("reaches the edge" in text for text in cropped.warnings), "the shafts are cut off"


def test_mirroring_swaps_sides_and_moves_points_with_their_voxels():
    data = hips(spacing=(3.0, 4.0, 5.0), oblique_deg=14, nail=True)
    mirrored = mirror(prepared_of(data), {RIGHT: LEFT})
    assert mirrored.mirrored and not mirror(mirrored, {RIGHT: LEFT}).mirrored
    before, after = sitk.GetArrayFromImage(data.mask), sitk.GetArrayFromImage(mirrored.mask)
    assert [(after == label).sum() for label in (LEFT, RIGHT, METAL)] == [
        (before == label).sum() for label in (RIGHT, LEFT, METAL)
    ]
    head = transform_points(mirrored.matrix, data.heads["right"])
    assert mirrored.mask[mirrored.mask.TransformPhysicalPointToIndex(head.tolist())] == LEFT


def test_both_sides_give_two_studies_without_the_labels_of_the_other():
    parts = split_sides(prepared_of(hips(nail=True, spacing=(4.0, 4.0, 5.0))), [RIGHT], [LEFT])
    found = [(part.case, part.side, set(np.unique(part.label_array()))) for part in parts]
    assert found == [("a_left", "left", {0, LEFT, METAL}), ("a_right", "right", {0, RIGHT, METAL})]
    assert split_sides(prepared_of(hips(spacing=(4.0, 4.0, 5.0))), [], [])[0].side is None


@pytest.fixture(scope="module")
def small() -> Hips:
    return hips(spacing=(4.0, 4.0, 5.0), islands=True)


def test_steps_alone_lead_to_the_same_place_as_together(tmp_path, small):
    """The output of one step is the input of the next, and the last transform still starts from the first file."""
    write(tmp_path / "0", "a", small)
    settings = {"right_labels": [RIGHT], "left_labels": [LEFT]}
    process(tmp_path / "0", tmp_path / "all", steps=["clean", "crop", "resample"], **settings)
    for number, step in enumerate(["clean", "crop", "resample"]):
        process(tmp_path / str(number), tmp_path / str(number + 1), steps=[step], **settings)
    for case in ("a_left", "a_right"):
        alone, together = (
            read_transform(folder / f"{case}_transform.json") for folder in (tmp_path / "3", tmp_path / "all")
        )
        np.testing.assert_allclose(alone["original_to_preprocessed"], together["original_to_preprocessed"], atol=1e-3)
        assert alone["source"] == together["source"] and alone["mirrored"] == together["mirrored"]
        first, second = (
            sitk.ReadImage(str(folder / f"{case}.nii.gz")) for folder in (tmp_path / "3", tmp_path / "all")
        )
        assert np.abs(sitk.GetArrayFromImage(first) - sitk.GetArrayFromImage(second)).max() <= 1


def test_a_ct_without_labels_is_refused_with_advice_or_goes_on_uncropped(tmp_path, small, capsys):
    write(tmp_path / "in", "a", small)
    (tmp_path / "in" / "a_seg.nii.gz").unlink()
    with pytest.raises(SystemExit):
        process(tmp_path / "in", tmp_path / "out", steps=["clean", "crop"])
    said = capsys.readouterr().err
    assert "a.nii.gz: has no label map; put <case>_seg.nii.gz beside it" in said
    process(tmp_path / "in", tmp_path / "out", steps=["clean", "crop", "resample"])
    assert "neither cleaned nor cropped" in report(tmp_path / "out", "a")["warnings"][0]
    assert not (tmp_path / "out" / "a_seg.nii.gz").exists()


def test_bones_by_threshold_stand_in_for_labels(tmp_path, small):
    write(tmp_path / "in", "a", small)
    (tmp_path / "in" / "a_seg.nii.gz").unlink()
    process(tmp_path / "in", tmp_path / "out", steps=["clean", "crop", "resample"], bone_threshold=200, labels=[1])
    assert report(tmp_path / "out", "a")["labels"] == [1]


def test_the_side_may_be_given_in_a_table(tmp_path, small):
    write(tmp_path / "ct", "a", small)
    table = tmp_path / "cases.csv"
    table.write_text("case,image,mask,side\nx,ct/a.nii.gz,ct/a_seg.nii.gz,right\n")
    process(tmp_path, tmp_path / "out", table=table, steps=["clean", "crop"], labels=[RIGHT])
    assert report(tmp_path / "out", "x")["mirrored"]
    for text, says in (
        ("case,mask\nx,y\n", "lacks the columns"),
        ("case,image,side\nx,a.nii.gz,up\n", "the side up"),
        ("case,image\nx,a.nii.gz\nx,b.nii.gz\n", "twice"),
    ):
        table.write_text(text)
        with pytest.raises(CaseError, match=says):
            ct_cases(tmp_path, table=table)


def test_label_maps_that_do_not_fit(tmp_path, small):
    write(tmp_path / "in", "shifted", small)
    moved = move_image(small.mask, np.array([[1.0, 0, 0, 5000], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    sitk.WriteImage(moved, str(tmp_path / "in" / "shifted_seg.nii.gz"))
    write(tmp_path / "in", "finer", small)
    grid = sitk.Expand(small.mask, [2, 2, 1], sitk.sitkNearestNeighbor)
    sitk.WriteImage(grid, str(tmp_path / "in" / "finer_seg.nii.gz"))
    with pytest.raises(SystemExit):
        process(tmp_path / "in", tmp_path / "out", steps=["clean"])
    assert "had another grid" in report(tmp_path / "out", "finer")["warnings"][0]
    assert not (tmp_path / "out" / "shifted.nii.gz").exists()
    sitk.WriteImage(sitk.Cast(small.mask, sitk.sitkFloat32) * 0.3, str(tmp_path / "soft.nii.gz"))
    with pytest.raises(CaseError, match="is no label map"):
        read_labels(tmp_path / "soft.nii.gz")
    sitk.WriteImage(small.ct + 1200, str(tmp_path / "raw.nii.gz"))
    with pytest.raises(CaseError, match="is no CT in HU"):
        read_ct(tmp_path / "raw.nii.gz")


def test_settings_that_cannot_work_are_refused(tmp_path, small):
    write(tmp_path / "in", "a", small)
    cases = ct_cases(tmp_path / "in")
    for says, settings in (
        ("--steps: are", {"steps": ["crop", "clean"]}),
        ("--right_labels and", {"right_labels": [1], "left_labels": [1]}),
        ("--spacing_mm and", {"spacing_mm": 0}),
        ("--reference: nobody", {"reference": "nobody"}),
    ):
        with pytest.raises(CaseError, match=says):
            PreprocessCase(cases, **settings)
    with pytest.raises(CaseError, match="lies in the output folder"):
        process(tmp_path / "in", tmp_path / "in", steps=["clean"])
    with pytest.raises(CaseError, match="only files whose names end"):
        ct_cases(tmp_path / "in" / "a_seg.nii.gz")


def test_what_does_not_fit_is_flagged():
    """Another anatomy, and a field of view that ends below the heads."""
    reference, low = hips(spacing=(4.0, 4.0, 5.0)), hips(3, spacing=(4.0, 4.0, 5.0), top_mm=-5.0)
    first, second = (split_sides(clean(prepared_of(item)), [RIGHT], [LEFT])[0] for item in (reference, low))
    first, second = crop(first, [LEFT]), crop(second, [LEFT])
    found = coregister(first.ct, second.ct, select_labels(first.mask), select_labels(second.mask))
    assert any("beyond the CT" in reason for reason in found.reasons), found.quality
    rng = np.random.default_rng(0)
    noise = sitk.GetImageFromArray(rng.normal(0, 400, (20, 20, 20)).astype(np.float32))
    noise.SetSpacing((6, 6, 6))
    assert any("correlation" in reason for reason in coregister(first.ct, noise).reasons)


def real_head(ct: sitk.Image, bone: sitk.Image, near: np.ndarray) -> np.ndarray | None:
    """Centre of the femoral head of a bone (label 1) in a CT, LPS mm; None where less than 40 % of it is there."""
    found = fit_head(surface_points(sitk.GetArrayFromImage(bone) == 1, bone, ct), near, least=0.4)
    return None if found is None else found[0]


@pytest.mark.skipif("BUNDLES_DATA" not in os.environ, reason="BUNDLES_DATA names no folder of real images")
def test_real_hips_meet_at_the_femoral_head_or_are_flagged(tmp_path):
    """A hip with its head, three whose heads are outside of the image, and the first one mirrored, moved, resampled."""
    folder = Path(os.environ["BUNDLES_DATA"]) / "hips"
    files = {name: folder / f"STS_{name}_CT_image.nii.gz" for name in ("012", "001", "014", "023")}
    sides = {"012": "right", "001": "left", "014": "right", "023": "left", "moved": "left"}
    original = sitk.ReadImage(str(files["012"]), sitk.sitkFloat32)
    bone = separate_bones(original)
    turn = np.eye(4)
    turn[:3] = np.c_[Rotation.from_euler("xyz", [12, -9, 15], degrees=True).as_matrix(), [25, -140, 60]]
    motion = turn @ mirror_matrix(10.0)
    away, away_bone = (move_image(mirror_image(image, 10.0), turn) for image in (original, bone))
    grid = covering_grid(away, 2.0)
    moved, moved_bone = resample(away, grid), resample(away_bone, grid, 0, labels=True)
    files["moved"] = tmp_path / "moved.nii.gz"
    sitk.WriteImage(moved, str(files["moved"]))
    sitk.WriteImage(moved_bone, str(tmp_path / "bone.nii.gz"))
    masks = {"moved": tmp_path / "bone.nii.gz"}
    rows = [f"{name},{path},{masks.get(name, '')},{sides[name]}\n" for name, path in files.items()]
    table = tmp_path / "hips.csv"
    table.write_text("case,image,mask,side\n" + "".join(rows))
    process(tmp_path, tmp_path / "out", table=table, bone_threshold=200, labels=[1])
    for name in files:
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}_seg.nii.gz")))
        assert ndimage.label(mask == 1)[1] == 1
        assert report(tmp_path / "out", name)["mirrored"] == (sides[name] == "right")
    transforms = {name: read_transform(tmp_path / "out" / f"{name}_transform.json") for name in files}
    head = real_head(original, bone, np.array([-92.0, 21.0, -678.0]))
    assert head is not None
    reference = transform_points(transforms["012"]["original_to_preprocessed"], head)
    truth = transform_points(transforms["moved"]["original_to_preprocessed"], transform_points(motion, head))
    assert np.linalg.norm(truth - reference) < 0.5
    for name in ("001", "014", "023", "moved"):
        if report(tmp_path / "out", name)["coregistration_failed"]:
            assert name != "moved", report(tmp_path / "out", name)["warnings"]
            continue
        image = moved if name == "moved" else sitk.ReadImage(str(files[name]), sitk.sitkFloat32)
        own = moved_bone if name == "moved" else separate_bones(image)
        found = real_head(image, own, transform_points(transforms[name]["preprocessed_to_original"], reference))
        assert found is not None, f"{name} has no head and is not flagged"
        assert np.linalg.norm(transform_points(transforms[name]["original_to_preprocessed"], found) - reference) < 3.0
