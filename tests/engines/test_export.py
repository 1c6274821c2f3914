"""Free dimensions of an export from the shapes that metadata.json states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shared.engines.export import free_dimensions


class Halve(nn.Module):
    """A network that, like most, wants even sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 2)


def test_fixed_sizes_stay_fixed() -> None:
    dimensions, sizes = free_dimensions([64, "*"])
    assert set(dimensions) == {0, 3}
    assert sizes[0] == 64


def test_exported_program_takes_other_sizes_and_batches() -> None:
    dimensions, sizes = free_dimensions(["4*n", "4*n"])
    program = torch.export.export(Halve(), (torch.rand(2, 1, *sizes),), dynamic_shapes=(dimensions,)).module()
    assert program(torch.rand(1, 1, 8, 24)).shape == (1, 1, 4, 12)


@pytest.mark.parametrize("size", ["2**p", "n+1", "x"])
def test_other_expressions_are_refused(size: str) -> None:
    with pytest.raises(ValueError, match="spatial_shape"):
        free_dimensions([size])
