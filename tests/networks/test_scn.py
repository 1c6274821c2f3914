import pytest
import torch
from torch import nn

from shared.networks.scn import (
    SpatialConfigurationNet,
    hand_scn_64,
    hand_scn_128,
    upsample_cubic,
    vertebrae_scn_2019,
)

# preset, convolutions, parameters, a small input
PRESETS = [
    (hand_scn_64, 17, 4_097_034, (1, 1, 64, 64)),
    (hand_scn_128, 18, 6_926_410, (1, 1, 64, 64)),
    (vertebrae_scn_2019, 18, 5_280_562, (1, 1, 16, 16, 32)),
]


@pytest.mark.parametrize("preset, layers, parameters, shape", PRESETS)
def test_presets_have_the_published_size(preset, layers, parameters, shape):
    network = preset()
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    assert len(convolutions) == layers
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert all(torch.equal(m.bias, torch.zeros_like(m.bias)) for m in convolutions)


@pytest.mark.parametrize("preset, layers, parameters, shape", PRESETS)
def test_first_heatmaps_are_close_to_zero(preset, layers, parameters, shape):
    torch.manual_seed(0)
    output = preset()(torch.rand(shape))
    assert output.shape[2:] == shape[2:]
    assert 0 < output.abs().max() < 1e-3


def test_spatial_part_bounds_the_output():
    """|local x tanh| never exceeds |local|: the spatial part can only take candidates away or turn their sign."""
    network = SpatialConfigurationNet(2, 1, 3, width=4, spatial_kernel_size=5, head_std=1.0).eval()
    x = torch.rand(1, 1, 64, 64)
    local = network.local_head(network.local(network.entry(x)))
    # cubic interpolation of values in -1..1 overshoots by at most 27 % along each axis
    assert (network(x).abs() <= 1.27**2 * local.abs() + 1e-6).all()


@pytest.mark.parametrize("dims, stride", [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_heatmap_index_sits_on_stride_times_index(dims, stride):
    """The response to a bright pixel is centred on it: no shift by half a pixel between input and heatmap."""
    torch.manual_seed(1)
    network = SpatialConfigurationNet(
        dims, 1, 1, width=2, levels=1, kernel_size=3, spatial_downsampling=1, spatial_kernel_size=1, spatial_layers=1,
        input_stride=stride, dropout=0.0, negative_slope=1.0,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                module.weight.fill_(1.0)
        network.spatial_head.conv.bias.fill_(10.0)  # tanh is 1 everywhere: the local part alone
        network.spatial_head.conv.weight.zero_()
        image = torch.zeros(1, 1, *[32] * dims)
        image[(0, 0, *[12] * dims)] = 1
        response = network(image)[0, 0]
    centre = [
        (response.sum([d for d in range(dims) if d != axis]) * torch.arange(len(response))).sum()
        for axis in range(dims)
    ]
    assert torch.allclose(torch.stack(centre) / response.sum(), torch.full((dims,), 12.0 / stride), atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_scripted_equals_eager(dims):
    network = SpatialConfigurationNet(dims, 1, 3, width=4, levels=3, kernel_size=3, spatial_kernel_size=5).eval()
    x = torch.rand(1, 1, *[32] * dims)
    assert torch.allclose(torch.jit.script(network)(x), network(x), atol=1e-6)


def test_sizes_that_do_not_fit_are_refused():
    network = SpatialConfigurationNet(2, 1, 3, width=4, input_stride=2)
    with pytest.raises(ValueError, match="multiples of 16"):
        network(torch.rand(1, 1, 40, 64))
    with pytest.raises(ValueError, match="odd"):
        SpatialConfigurationNet(2, 1, 3, kernel_size=4)


def test_dropout_follows_the_level_count():
    network = SpatialConfigurationNet(2, 1, 3, width=4, dropout=0.9, spatial_kernel_size=3, head_std=0.1)
    x = torch.rand(1, 1, 32, 32)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_cubic_upsampling_equals_torch_and_goes_on_in_3d():
    x = torch.rand(2, 3, 6, 9)
    expected = nn.functional.interpolate(x, size=(24, 36), mode="bicubic", align_corners=False)
    assert torch.allclose(upsample_cubic(x, [24, 36]), expected, atol=1e-5)
    for axis in (2, 3, 4):  # constant along one axis: the plane across it is the 2-D case
        volume = upsample_cubic(torch.stack([x] * 5, dim=axis), [24, 36][: axis - 2] + [20] + [24, 36][axis - 2 :])
        assert torch.allclose(volume, torch.stack([expected] * 20, dim=axis), atol=1e-5)
