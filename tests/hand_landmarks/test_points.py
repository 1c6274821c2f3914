import numpy as np
import torch
from monai.data import MetaTensor

from bundles.hand_landmarks.scripts.points import fit_similarity, to_file_indices
from shared.geometry.frames import transform_points


def test_similarity_is_recovered():
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(10, 2, generator=generator) * 50
    angle, scale = 0.7, 1.8
    linear = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (source.double() @ linear.T + torch.tensor([3.0, -8.0])).float()
    matrix, residuals = fit_similarity(source, target)
    assert torch.allclose(matrix[:2, :2], linear.double(), atol=1e-5)
    assert residuals.max() < 1e-4
    assert torch.allclose(transform_points(matrix, source), target, atol=1e-4)


def test_similarity_never_mirrors():
    source = torch.rand(10, 2, generator=torch.Generator().manual_seed(0)) * 50
    matrix, residuals = fit_similarity(source, source * torch.tensor([-1.0, 1.0]))
    assert matrix[:2, :2].det() > 0 and residuals.max() > 5


def test_weights_silence_an_outlier():
    source = torch.rand(10, 2, generator=torch.Generator().manual_seed(0)) * 50
    target = source.clone()
    target[0] += 100
    weights = torch.ones(10)
    weights[0] = 0
    matrix, residuals = fit_similarity(source, target, weights)
    assert torch.allclose(matrix, torch.eye(3, dtype=torch.float64), atol=1e-5) and residuals[0] > 100


def test_file_indices_go_through_both_affines():
    original = np.diag([-0.5, -0.5, 1.0, 1.0])
    original[:2, 3] = 10, 20
    step = np.array([[2.0, 0, 0, 5], [0, 2.0, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]])
    image = MetaTensor(
        torch.zeros(1, 4, 4), affine=torch.as_tensor(original @ step), meta={"original_affine": original}
    )
    points = to_file_indices(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), image)
    assert torch.allclose(points[0], torch.tensor([7.0, 11.0])) and points[1].isnan().any()
