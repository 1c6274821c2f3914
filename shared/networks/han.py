"""Networks for the organs at risk of head and neck: a 2-D vision transformer, and a 3-D CNN with attention inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017) by scaled_dot_product_attention.

    Input and output (B, N, dim).
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} must be a multiple of num_heads {num_heads}")
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, N, dim / heads)."""
        batch, count, dim = x.shape
        parts = self.qkv(x).reshape(batch, count, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(x)
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        return self.project(mixed.transpose(1, 2).flatten(2))

    @torch.jit.unused
    def weights(self, x: Tensor) -> Tensor:
        """(B, heads, N, N): how much each token (third axis) takes from each other (last axis); rows add up to 1."""
        query, key, _ = self.split(x)
        return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)


class EncoderLayer(nn.Module):
    """Attention and perceptron, each after a LayerNorm and beside a residual path (Dosovitskiy et al., 2021).

    Input and output (B, N, dim).
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    @torch.jit.unused
    def weights(self, x: Tensor) -> Tensor:
        """(B, heads, N, N): the attention inside this layer."""
        return self.attention.weights(self.norm1(x))


@torch.jit.unused
def layer_weights(layers: nn.ModuleList, tokens: Tensor) -> list[Tensor]:
    """Attention (B, heads, N, N) of every layer for tokens (B, N, dim)."""
    maps = []
    for layer in layers:
        assert isinstance(layer, EncoderLayer)
        maps.append(layer.weights(tokens))
        tokens = layer(tokens)
    return maps


class TransformerSegmentation(nn.Module):
    """Vision transformer for slices: patches, encoder, decoder to full resolution.

    Args:
        img_size: rows and columns of the slices.
        patch_size: rows and columns of a patch, a power of two.
        in_channels: of the slices: CT and MR.
        num_classes: organs, each with a logit of its own.
        embed_dim: of a token.
        depth: encoder layers.
        num_heads: of the attention.
        dropout: in the encoder.

    Input (B, in_channels, img_size, img_size), output (B, num_classes, img_size, img_size) logits.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 2,
        num_classes: int = 30,
        embed_dim: int = 512,
        depth: int = 8,
        num_heads: int = 8,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        steps = patch_size.bit_length() - 1
        if patch_size != 2**steps or img_size % patch_size:
            raise ValueError(f"patch_size {patch_size} must be a power of two that divides img_size {img_size}")
        self.img_size, self.side = img_size, img_size // patch_size
        self.embed = nn.Conv2d(in_channels, embed_dim, patch_size, stride=patch_size)
        self.position = nn.Parameter(torch.zeros(1, self.side**2, embed_dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.layers = nn.ModuleList([EncoderLayer(embed_dim, num_heads, dropout=dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(embed_dim)
        widths = [max(embed_dim >> step, 16) for step in range(steps + 1)]
        self.decoder = nn.Sequential()
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            self.decoder.append(nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False))
            self.decoder.append(Convolution(2, inputs, outputs, kernel_size=3, act="GELU", norm="INSTANCE"))
        self.head = nn.Conv2d(widths[-1], num_classes, 1)

    def tokens(self, x: Tensor) -> Tensor:
        """(B, N, embed_dim): embedded patches with their positions, row by row."""
        return self.embed(x).flatten(2).transpose(1, 2) + self.position

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.img_size or x.shape[3] != self.img_size:
            raise ValueError(f"slices must have {self.img_size} x {self.img_size} pixels, got {x.shape[2:]}")
        tokens = self.tokens(x)
        for layer in self.layers:
            tokens = layer(tokens)
        grid = self.norm(tokens).transpose(1, 2).reshape(x.shape[0], -1, self.side, self.side)
        return self.head(self.decoder(grid))

    @torch.jit.unused
    def attention_maps(self, x: Tensor) -> list[Tensor]:
        """Attention of every layer, (B, heads, N, N) each, N patches row by row."""
        return layer_weights(self.layers, self.tokens(x))


class Stage(nn.Module):
    """Residual unit of MONAI, its first convolution with a stride. (B, inputs, *) to (B, outputs, * / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # leaky ReLU: a PReLU takes as long as the convolution before it on a CPU
        self.unit = ResidualUnit(
            3,
            inputs,
            outputs,
            strides=stride,
            kernel_size=3,
            subunits=2,
            act=("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
            norm=("instance", {"affine": True}),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x)


class HanTransformer(nn.Module):
    """U-shaped 3-D CNN with a transformer at the bottleneck, for CT with or without MR.

    CT and MR have encoders of their own. Features of the MR are added to those of the CT on every level, multiplied by
    the share of the MR's field of view in each voxel: where there is no MR the network works on CT alone, exactly as if
    it had no second stream. Positions of tokens come from a depth-wise convolution (Chu et al., 2023), so that any size
    goes. The finest features have full resolution, because spinal cord and optic nerves are only few voxels wide; they
    are narrow, because most of the time is spent there.

    Args:
        ct_channels: of the CT (windows), and of anything else that is always there.
        mr_channels: of the MR with its field-of-view mask (0 or 1) as the last one; further modalities lie between. 0
            for a network without this stream.
        num_classes: organs and background.
        widths: filters at 1, 1/2, 1/4, … of the resolution.
        depth, num_heads: of the transformer.
        modality_dropout: probability with which the MR of a sample is hidden during training.

    Input (B, ct_channels + mr_channels, X, Y, Z), output (B, num_classes, X, Y, Z) logits; each size must be a multiple
    of ``2 ** (len(widths) - 1)``.
    """

    def __init__(
        self,
        ct_channels: int = 3,
        mr_channels: int = 2,
        num_classes: int = 31,
        widths: Sequence[int] = (12, 24, 48, 96, 192),
        depth: int = 4,
        num_heads: int = 6,
        modality_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if mr_channels == 1:
            raise ValueError("mr_channels must count the field-of-view mask: at least 2, or 0 for no MR")
        self.ct_channels, self.mr_channels = ct_channels, mr_channels
        self.modality_dropout, self.divisor = modality_dropout, 2 ** (len(widths) - 1)
        steps = list(zip((0, *widths[:-1]), widths, (1, *(2 for _ in widths[1:])), strict=True))
        self.ct_encoder = nn.ModuleList([Stage(i or ct_channels, o, s) for i, o, s in steps])
        self.mr_encoder, self.fusion = nn.ModuleList(), nn.ModuleList()
        if mr_channels > 0:
            self.mr_encoder.extend([Stage(i // 2 or mr_channels, o // 2, s) for i, o, s in steps])
            self.fusion.extend([nn.Conv3d(width // 2, width, 1) for width in widths])
        deepest = widths[-1]
        self.position = nn.Conv3d(deepest, deepest, 3, padding=1, groups=deepest)
        self.layers = nn.ModuleList([EncoderLayer(deepest, num_heads, mlp_ratio=2.0) for _ in range(depth)])
        self.norm = nn.LayerNorm(deepest)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.narrow = nn.ModuleList([nn.Conv3d(deep, fine, 1) for deep, fine in pairs])
        self.decoder = nn.ModuleList([Stage(2 * fine, fine, 1) for _, fine in pairs])
        self.head = nn.Conv3d(widths[0], num_classes, 1)

    def seen(self, mask: Tensor) -> Tensor:
        """Field-of-view mask (B, 1, X, Y, Z), during training that of some samples emptied."""
        if self.training and self.modality_dropout > 0:
            keep = torch.rand(mask.shape[0], 1, 1, 1, 1, device=mask.device) >= self.modality_dropout
            mask = mask * keep.to(mask.dtype)
        return mask

    def is_empty(self, mask: Tensor) -> bool:
        """Whether no voxel of a batch has an MR; not asked in an exported network, which has no such branch."""
        if torch.jit.is_scripting():
            return False
        else:  # without it, scripting compiles what follows
            exported = torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()
            return not exported and not bool(mask.any())

    def encode(self, x: Tensor) -> list[Tensor]:
        """Fused features of every level, the finest first."""
        ct = x[:, : self.ct_channels]
        levels: list[Tensor] = []
        for stage in self.ct_encoder:
            ct = stage(ct)
            levels.append(ct)
        if self.mr_channels > 0:
            mask = self.seen(x[:, -1:])
            if self.is_empty(mask):
                return levels  # the same result without the time
            mr = x[:, self.ct_channels :] * mask
            fused: list[Tensor] = []
            for mr_stage, fuse in zip(self.mr_encoder, self.fusion):  # noqa: B905, scripting knows no strict
                mr = mr_stage(mr)
                if len(fused) > 0:
                    mask = F.avg_pool3d(mask, 2)
                fused.append(levels.pop(0) + fuse(mr) * mask)
            return fused
        return levels

    def bottleneck_tokens(self, deepest: Tensor) -> Tensor:
        """(B, N, width) of the coarsest features, with their positions."""
        return (deepest + self.position(deepest)).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        for size in x.shape[2:]:
            if size % self.divisor != 0:
                raise ValueError(f"image sizes must be multiples of {self.divisor}, got {x.shape[2:]}")
        levels = self.encode(x)
        deepest = levels[-1]
        tokens = self.bottleneck_tokens(deepest)
        for layer in self.layers:
            tokens = layer(tokens)
        features = self.norm(tokens).transpose(1, 2).reshape(deepest.shape)
        level = len(levels) - 2
        for narrow, up_stage in zip(self.narrow, self.decoder):  # noqa: B905, scripting knows no strict
            features = F.interpolate(
                narrow(features), size=levels[level].shape[2:], mode="trilinear", align_corners=False
            )
            features = up_stage(torch.cat([levels[level], features], dim=1))
            level -= 1
        return self.head(features)

    @torch.jit.unused
    def attention_maps(self, x: Tensor) -> list[Tensor]:
        """Attention of every layer, (B, heads, N, N) each, N voxels of the bottleneck with the last axis fastest."""
        return layer_weights(self.layers, self.bottleneck_tokens(self.encode(x)[-1]))
