"""What checkpoints call the tensors of an XLS-R encoder: fairseq's names, and transformers', which are ours.

Both map published name → our name, without the prefix that a detector puts in front.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfexport.layers.xlsr import XlsrConfig

CONV = "feature_extractor.conv_layers.{}"
POSITION = "encoder.pos_conv_embed.conv"


@dataclass(frozen=True)
class Names:
    """One library's names.

    Attributes:
        position: the direction of the position convolution's weight.
        conv: the convolution of the extractor's layer ``{}``.
        feed_forward: the first matrix of transformer layer ``{}``'s feed-forward block.
        group_norm: the one norm that the extractor of a post-norm encoder has; "" where none is published so.
        renamed: all tensors that scoring uses.
    """

    position: str
    conv: str
    feed_forward: str
    group_norm: str
    renamed: "Callable[[XlsrConfig], dict[str, str]]"


def _of_fairseq(config: "XlsrConfig") -> dict[str, str]:
    modules = {
        # post_extract_proj.weight → feature_projection.projection.weight
        "post_extract_proj": "feature_projection.projection",
        # layer_norm.weight → feature_projection.layer_norm.weight
        "layer_norm": "feature_projection.layer_norm",
        # encoder.layer_norm.weight → encoder.layer_norm.weight
        "encoder.layer_norm": "encoder.layer_norm",
    }
    for i in range(len(config.conv_kernels)):
        layer = CONV.format(i)
        if config.pre_norm:
            # feature_extractor.conv_layers.0.2.1.weight → feature_extractor.conv_layers.0.layer_norm.weight
            modules[f"{layer}.2.1"] = f"{layer}.layer_norm"
        elif i == 0:
            # feature_extractor.conv_layers.0.2.weight → feature_extractor.conv_layers.0.layer_norm.weight
            modules[f"{layer}.2"] = f"{layer}.layer_norm"
    for i in range(config.layers):
        layer = f"encoder.layers.{i}"
        modules |= {
            # encoder.layers.0.self_attn.k_proj.weight → encoder.layers.0.attention.k_proj.weight; q, v, out alike
            **{f"{layer}.self_attn.{name}_proj": f"{layer}.attention.{name}_proj" for name in ("q", "k", "v", "out")},
            # encoder.layers.0.self_attn_layer_norm.weight → encoder.layers.0.layer_norm.weight
            f"{layer}.self_attn_layer_norm": f"{layer}.layer_norm",
            # encoder.layers.0.fc1.weight → encoder.layers.0.feed_forward.intermediate_dense.weight
            f"{layer}.fc1": f"{layer}.feed_forward.intermediate_dense",
            # encoder.layers.0.fc2.weight → encoder.layers.0.feed_forward.output_dense.weight
            f"{layer}.fc2": f"{layer}.feed_forward.output_dense",
            # encoder.layers.0.final_layer_norm.weight → encoder.layers.0.final_layer_norm.weight
            f"{layer}.final_layer_norm": f"{layer}.final_layer_norm",
        }
    convolutions = {
        # feature_extractor.conv_layers.0.0.weight → feature_extractor.conv_layers.0.conv.weight
        f"{CONV.format(i)}.0.{leaf}": f"{CONV.format(i)}.conv.{leaf}"
        for i in range(len(config.conv_kernels))
        for leaf in (("weight", "bias") if config.conv_bias else ("weight",))
    }
    both = {f"{old}.{leaf}": f"{new}.{leaf}" for old, new in modules.items() for leaf in ("weight", "bias")}
    return (
        convolutions
        | both
        | {
            # encoder.pos_conv.0.weight_g → encoder.pos_conv_embed.conv.parametrizations.weight.original0
            "encoder.pos_conv.0.weight_g": f"{POSITION}.parametrizations.weight.original0",
            # encoder.pos_conv.0.weight_v → encoder.pos_conv_embed.conv.parametrizations.weight.original1
            "encoder.pos_conv.0.weight_v": f"{POSITION}.parametrizations.weight.original1",
            # encoder.pos_conv.0.bias → encoder.pos_conv_embed.conv.bias
            "encoder.pos_conv.0.bias": f"{POSITION}.bias",
        }
    )


def _of_transformers(config: "XlsrConfig") -> dict[str, str]:
    return {name: name for name in _of_fairseq(config).values()}


FAIRSEQ = Names(
    position="encoder.pos_conv.0.weight_v",
    conv=f"{CONV}.0",
    feed_forward="encoder.layers.{}.fc1.weight",
    group_norm="feature_extractor.conv_layers.0.2.weight",
    renamed=_of_fairseq,
)
TRANSFORMERS = Names(
    position=f"{POSITION}.parametrizations.weight.original1",
    conv=f"{CONV}.conv",
    feed_forward="encoder.layers.{}.feed_forward.intermediate_dense.weight",
    group_norm="",
    renamed=_of_transformers,
)
