"""Training samples: image, mask and landmarks move together; the same crop comes from the same seed."""

import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from bundles.spine_localization.scripts.data import SpineCrop
from bundles.vertebrae_localization.scripts.data import VertebraeCrop
from bundles.vertebrae_segmentation.scripts.data import VertebraCrop, share_within
from shared.spine.augmentation import CropRanges, RandCTAppearanced, bent_indices, crop_volume, draw_crop, smooth_axis
from shared.spine.dataset import CHANNELS, FAR_MM
from shared.spine.training_crops import repeat_cases

RANGES = {"translate_mm": 8.0, "rotate": 0.3, "scale": 0.1, "elastic_mm": 6.0}
SIZE = (48, 56, 64)
LABELS = {20: (48.0, 60.0, 84.0), 21: (50.0, 58.0, 46.0)}  # label to voxel of a grid of 2 mm


@pytest.fixture
def case() -> dict:
    """A bright ball of 8 mm at each centre; labels there too, on a grid of another spacing and orientation."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-100.0, 20.0, 300.0]
    image = np.full((96, 110, 128), -1000, np.int16)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in image.shape], indexing="ij"), axis=-1)
    label_affine = np.array([[0, -1.5, 0, 92.0], [0, 0, 1.5, 20.0], [1.5, 0, 0, 300.0], [0, 0, 0, 1]])
    labels = np.zeros((170, 128, 146), np.uint8)
    label_index = np.stack(np.meshgrid(*[np.arange(n) for n in labels.shape], indexing="ij"), axis=-1)
    world = label_index @ label_affine[:3, :3].T + label_affine[:3, 3]
    centres = np.full((len(CHANNELS), 3), FAR_MM)
    for label, voxel in LABELS.items():
        image[np.linalg.norm(index - voxel, axis=-1) < 4] = 1000
        centre = affine[:3, :3] @ voxel + affine[:3, 3]
        labels[np.linalg.norm(world - centre, axis=-1) < 8] = label
        centres[CHANNELS.index(label)] = centre
    return {
        "case": "a",
        "image": MetaTensor(torch.from_numpy(image)[None], affine=torch.as_tensor(affine)),
        "labels": MetaTensor(torch.from_numpy(labels)[None], affine=torch.as_tensor(label_affine)),
        "centres": torch.from_numpy(centres),
    }


def mass_centre(values: torch.Tensor) -> np.ndarray:
    return np.argwhere(values.numpy()).mean(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_landmarks_follow_the_image(case: dict, seed: int) -> None:
    crop = VertebraeCrop(SIZE, 2.0, ranges=RANGES)
    crop.set_random_state(seed)
    sample = crop(case)
    balls, count = ndimage.label(sample["image"][0].numpy() > 0)
    found = np.array([mass_centre(torch.from_numpy(balls == number + 1)) for number in range(count)])
    points = sample["label"][[CHANNELS.index(label) for label in LABELS]].numpy()
    whole = [p for p in points if ((p > 5) & (p < np.array(SIZE) - 6)).all()]
    assert whole
    for point in whole:
        assert np.linalg.norm(found - point, axis=1).min() < 1.0
    assert (sample["label"][0] == FAR_MM).all()


@pytest.mark.parametrize("seed", range(5))
def test_mask_and_landmark_channel_follow_the_image(case: dict, seed: int) -> None:
    crop = VertebraCrop((40, 40, 32), 2.0, ranges=RANGES, jitter_mm=0.0)
    crop.set_random_state(seed)
    sample = crop(case)
    assert sample["label"].sum() > 100
    spot = np.unravel_index(int(sample["landmark"].argmax()), (40, 40, 32))
    assert np.abs(mass_centre(sample["label"][0] > 0) - spot).max() < 1.5
    overlap = ((sample["image"] > 0.0) & (sample["label"] > 0)).sum() / sample["label"].sum()
    assert overlap > 0.7  # the ball under the mask is the bright one


def test_mirrored_crops_occur(case: dict) -> None:
    signs = set()
    for seed in range(12):
        crop = draw_crop(np.zeros(3), SIZE, 2.0, CropRanges(rotate=0.1), np.random.RandomState(seed))
        signs.add(float(torch.sign(torch.linalg.det(crop.matrix[:, :3].double()))))
    assert signs == {-1.0, 1.0}


@pytest.mark.parametrize("kind", [SpineCrop, VertebraeCrop, VertebraCrop])
def test_same_seed_gives_the_same_sample(case: dict, kind: type) -> None:
    def make(seed: int) -> torch.Tensor:
        crop = kind((32, 32, 32), spacing_mm=3.0, ranges=RANGES, cut_prob=0.5)
        crop.set_random_state(seed)
        return crop(case)["image"]

    assert torch.equal(make(3), make(3))
    assert not torch.equal(make(3), make(4))


def test_straight_crops_are_spread_over_the_case(case: dict) -> None:
    crop = VertebraCrop((16, 16, 16), 2.0)
    assert [crop(item)["case"] for item in repeat_cases([case], 2)] == ["a L1", "a L2"]


def test_heatmap_of_the_spine_covers_the_bodies(case: dict) -> None:
    sample = SpineCrop((32, 32, 48), 8.0)({**case, "sample": 0.5})
    assert sample["label"].shape == (1, 32, 32, 48) and float(sample["label"].max()) == pytest.approx(1.0, abs=0.02)
    where = sample["image"][0] > -0.9
    assert float(sample["label"][0][where].min()) > 0.5


def test_cut_field_of_view_blanks_the_image_and_its_landmarks(case: dict) -> None:
    crop = VertebraeCrop((64, 64, 96), 2.0, ranges={**RANGES, "elastic_mm": 0.0}, cut_prob=1.0)
    lost = 0
    for seed in range(12):
        crop.set_random_state(seed)
        sample = crop(case)
        for label in LABELS:
            point = sample["label"][CHANNELS.index(label)].numpy()
            if (np.abs(point) > 1e3).all():
                lost += 1
            else:
                assert float(sample["image"][(0, *np.round(point).astype(int))]) > 0
    assert 0 < lost < 24


def test_appearance_stays_in_range_and_keeps_the_shape() -> None:
    transform = RandCTAppearanced()
    transform.set_random_state(0)
    image = torch.rand(1, 12, 14, 16) * 2 - 1
    outputs = [transform({"image": image})["image"] for _ in range(8)]
    assert all(o.shape == image.shape and o.abs().max() <= 1 for o in outputs)
    assert len({float(o.mean()) for o in outputs}) == 8


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_smoothing_acts_along_one_axis(axis: int) -> None:
    image = torch.zeros(1, 15, 15, 15)
    image[0, 7, 7, 7] = 1.0
    smooth = smooth_axis(image, axis, 1.0)
    assert float(smooth.sum()) == pytest.approx(1.0, abs=0.02)
    spread = [int((smooth.sum(dim=[a for a in (1, 2, 3) if a != other]) > 1e-6).sum()) for other in (1, 2, 3)]
    assert spread[axis - 1] == 7 and sorted(spread)[:2] == [1, 1]


def test_crops_of_drawn_lengths(case: dict) -> None:
    crop = VertebraeCrop(SIZE, 2.0, lengths=[32, 64, 400], ranges={**RANGES, "rotate": 0.3, "translate_mm": 0.0})
    crop.set_random_state(0)
    samples = [crop(case) for _ in range(12)]
    assert {sample["image"].shape for sample in samples} == {(1, 48, 56, length) for length in (32, 64, 400)}
    for sample in samples:  # landmarks follow the image in each of them, and long crops are hardly turned
        points = [p.numpy() for p in sample["label"] if p.min() >= 0 and (p.numpy() < sample["image"].shape[1:]).all()]
        for x, y, z in np.round(points).astype(int):
            inner = sample["image"][0, max(0, x - 1) : x + 2, max(0, y - 1) : y + 2, max(0, z - 1) : z + 2]
            assert inner.max() > 0
    assert VertebraeCrop(SIZE, 2.0, lengths=[32])(case)["image"].shape == (1, *SIZE)  # a validation keeps its size


def test_a_coarse_mask_keeps_the_volume(case: dict) -> None:
    crop = VertebraCrop((24, 24, 24), 4.0, posterior_mm=0.0)
    mask = crop({**case, "sample": 0.0})["label"]
    labels = case["labels"]
    volume = float((labels.as_tensor() == 20).sum()) * 1.5**3
    assert float(mask.sum()) * 4.0**3 == pytest.approx(volume, rel=0.05)  # a ball of four voxels across
    assert ((mask > 0.1) & (mask < 0.9)).sum() > 20


@pytest.mark.parametrize("seed", range(6))
def test_share_is_that_of_the_whole_volume(case: dict, seed: int) -> None:
    """Looking only near the structure changes nothing, also where the crop reaches over the border or misses it."""
    labels, rng = case["labels"], np.random.RandomState(seed)
    middle = np.array([-4.0, 140.0, 468.0]) + (0.0 if seed < 4 else np.array([60.0, 0.0, 150.0 * (seed - 4)]))
    crop = draw_crop(middle, (24, 28, 20), 2.5, CropRanges(translate_mm=10, rotate=0.4, scale=0.2, elastic_mm=4), rng)
    bent = bent_indices(crop)
    places = torch.tensor(list(itertools.product((-0.25, 0.25), repeat=3)))
    spots = (bent[:, :, :, None] + places).reshape(24, 28, -1, 3)
    chosen = MetaTensor(labels.as_tensor() == 20, affine=labels.affine)
    everywhere = crop_volume(chosen, crop, spots, 0.0).reshape(1, 24, 28, 20, 8).mean(dim=-1)
    assert torch.allclose(share_within(labels, 20, crop, bent), everywhere, atol=1e-4)
    assert (everywhere.sum() > 100) == (seed < 4)
