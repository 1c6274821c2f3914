import pytest
import torch

from shared.spine.hu_window import normalize_hu


def test_the_window_becomes_minus_one_to_one() -> None:
    hu = torch.tensor([-3000.0, -1024.0, 0.0, 512.0, 5000.0])
    assert normalize_hu(hu).tolist() == [-1.0, -1.0, 0.0, 0.5, 1.0]
    assert normalize_hu(hu, [-200, 1000]).tolist() == pytest.approx([-1, -1, -2 / 3, 112 / 600, 1])
