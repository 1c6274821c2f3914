"""Training samples, the loss and the metrics of the pose regressor."""

from __future__ import annotations

import pytest
import torch

from bundles.xray_ct_registration.scripts.augmentation import augment
from bundles.xray_ct_registration.scripts.data import RandPose, validation_samples
from bundles.xray_ct_registration.scripts.losses import PoseLoss
from bundles.xray_ct_registration.scripts.metrics import median_mtre, success_rate
from bundles.xray_ct_registration.scripts.network_io import encode
from bundles.xray_ct_registration.scripts.training import PosePointsd, RenderBatch
from shared.drr.geometry import Detector
from tests.xray_ct_registration.patient import SPACE, patient

TRAINED = Detector(32, 32, (8.48, 8.48), 1020.0)


def batch(count: int = 2) -> dict:
    items = validation_samples([patient()], SPACE, count)
    return {
        "parameters": torch.stack([item["parameters"] for item in items]),
        "patient": torch.tensor([item["patient"] for item in items]),
        "seed": torch.tensor([item["seed"] for item in items]),
    }


def test_random_poses_depend_on_the_seed() -> None:
    draw = RandPose(SPACE)
    found = [draw.set_random_state(seed=seed)({"patient": 0})["parameters"] for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert float(SPACE.excess(torch.stack(found)).max()) == 0


def test_batches_are_standardised_and_repeatable() -> None:
    render = RenderBatch([patient()], SPACE, TRAINED)
    first, targets = render(batch(), torch.device("cpu"))
    again, _ = render(batch(), torch.device("cpu"))
    assert torch.equal(first, again) and first.shape == (2, 1, 32, 32)
    for image in first:
        inside = image[image != 0]
        assert abs(float(inside.mean())) < 0.1 and float(inside.std()) == pytest.approx(1, abs=0.1)
    assert targets["clean"].shape == (2, 1, 32, 32)


def test_loss_is_least_at_the_truth() -> None:
    _, targets = RenderBatch([patient()], SPACE, TRAINED)(batch(), torch.device("cpu"))
    loss = PoseLoss([patient()], SPACE, TRAINED)
    truth = encode(targets["parameters"], SPACE)
    at_truth = float(loss(truth, targets))
    wrong = (truth + 0.02).requires_grad_(True)
    away = loss(wrong, targets)
    away.backward()
    assert at_truth < 0.2 < float(away.detach()) - at_truth  # constant patches count as unlike
    assert float(wrong.grad.abs().max()) > 0


def test_points_measure_the_target_registration_error() -> None:
    _, targets = RenderBatch([patient()], SPACE, TRAINED)(batch(1), torch.device("cpu"))
    output = encode(targets["parameters"], SPACE)[0]
    output[4] += 0.007  # 7 mm further away
    item = {"pred": output, "label": {name: value[0] for name, value in targets.items()}}
    result = PosePointsd("pred", [patient()], SPACE, TRAINED)(item)
    distance = (result["points"] - result["reference"]).norm(dim=-1)
    assert float(distance.mean()) == pytest.approx(7.0, abs=1e-3)


def test_rates_count_images() -> None:
    errors = torch.tensor([[1.0, 3.0], [9.0, 15.0], [30.0, 30.0]])
    assert success_rate(errors, 12.0) == pytest.approx(2 / 3)
    assert median_mtre(errors) == pytest.approx(12.0)


def test_augmentation_repeats() -> None:
    image = torch.rand(32, 40, generator=torch.Generator().manual_seed(0))
    for seed in range(12):
        first, second = (augment(image, torch.Generator().manual_seed(seed)) for _ in range(2))
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
        assert bool(first[0].isfinite().all()) and float(first[1].mean()) > 0.2
