"""The U-Net of the vertebra pipeline: shapes, start, scripting, learning."""

import pytest
import torch

from shared.networks.unet import UNet


@pytest.mark.parametrize(("dims", "size"), [(2, (16, 24)), (3, (16, 8, 24))])
def test_output_has_the_size_of_the_input(dims: int, size: tuple[int, ...]) -> None:
    network = UNet(dims, in_channels=2, out_channels=3, width=4, levels=4)
    assert network(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


def test_width_is_the_same_on_all_levels() -> None:
    network = UNet(3, width=6, levels=3)
    widths = {m.out_channels for m in network.modules() if isinstance(m, torch.nn.Conv3d)}
    assert widths == {6, 1}  # the head alone has another number


def test_starts_close_to_its_bias() -> None:
    torch.manual_seed(0)
    output = UNet(3, width=8, levels=3, head_bias=-2.0).eval()(torch.randn(1, 1, 8, 8, 8))
    assert (output + 2).abs().max() < 0.05


def test_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        UNet(3, width=4, levels=4)(torch.zeros(1, 1, 8, 8, 12))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_network_gives_the_same() -> None:
    torch.manual_seed(0)
    network = UNet(3, 2, 1, width=4, levels=3, head_std=0.1).eval()
    image = torch.randn(1, 2, 8, 12, 16)
    assert torch.equal(torch.jit.script(network)(image), network(image))


def test_moves_with_its_input() -> None:
    """A shift by one voxel of the coarsest level shifts the output, away from the borders."""
    torch.manual_seed(0)
    network = UNet(3, width=4, levels=3, head_std=0.1).eval()
    image = torch.zeros(1, 1, 48, 48, 48)
    image[..., 20:24, 20:24, 20:24] = 1.0
    moved = torch.roll(image, 4, dims=2)
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12), slice(12, -12))
    assert torch.allclose(torch.roll(network(image), 4, dims=2)[inside], network(moved)[inside], atol=1e-5)


def test_learns_a_threshold() -> None:
    torch.manual_seed(0)
    network = UNet(3, width=8, levels=2, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        image = torch.randn(2, 1, 8, 8, 8)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(image), (image > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2
