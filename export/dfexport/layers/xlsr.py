"""wav2vec 2.0 XLS-R, from the fairseq-named weights inside a fine-tuned checkpoint to an encoder without fairseq.

Babu et al., "XLS-R: Self-supervised Cross-lingual Speech Representation Learning at Scale", Interspeech 2022, arXiv
2111.09296; reference code: fairseq 0.12, ``models/wav2vec/wav2vec2.py``. The blocks are those of transformers'
``Wav2Vec2Model``; they are called one by one here, since which of its ``hidden_states`` come before the last norm has
changed between versions.
"""

from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import remove_parametrizations
from transformers import Wav2Vec2Config, Wav2Vec2Model

from dfexport.errors import CheckpointInvalid, listed
from dfexport.seeded import SeededRules
from dfexport.state import Shapes, State, differences

PREFIX = "ssl_model.model."  # as the detectors that grew out of SSL_Anti-spoofing call it
# Neither can be read from a tensor's shape; both are the same in XLS-R 300M, 1B and 2B.
HEADS = 16
CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
# Beginnings of the keys that only pre-training used; fine-tuned checkpoints still carry them.
PRETRAINING_KEYS = ("mask_emb", "quantizer.", "project_q.", "final_proj.")

SEEDED_RULES: SeededRules = {"weight_g": lambda noise: 1 + 0.1 * np.abs(noise)}


@dataclass(frozen=True)
class XlsrConfig:
    """An encoder's size; the defaults are XLS-R 300M's.

    Attributes:
        layers: transformer layers.
        hidden: features of a frame.
        feed_forward: features inside a layer's feed-forward block.
        conv_channels: features of the convolutional extractor.
        conv_kernels: its kernels; it makes a frame of every 320 samples (20 ms).
        position_kernel, position_groups: the convolution that stands for position embeddings.
    """

    layers: int = 24
    hidden: int = 1024
    feed_forward: int = 4096
    conv_channels: int = 512
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    position_kernel: int = 128
    position_groups: int = 16

    def frames(self, samples: int) -> int:
        """Frames that a waveform of ``samples`` samples becomes."""
        for kernel, stride in zip(self.conv_kernels, CONV_STRIDES, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


XLSR_300M = XlsrConfig()


class Xlsr(nn.Module):
    """Raw waveform (batch, samples) → frames (batch, time, hidden). Nothing is normalised over the batch.

    Inputs and outputs are float32, whatever ``dtype`` it computes in.
    """

    def __init__(self, config: XlsrConfig) -> None:
        super().__init__()
        self.config = config
        self.dtype = torch.float32
        model = Wav2Vec2Model(
            Wav2Vec2Config(
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=HEADS,
                intermediate_size=config.feed_forward,
                conv_dim=(config.conv_channels,) * len(config.conv_kernels),
                conv_kernel=config.conv_kernels,
                conv_stride=CONV_STRIDES,
                conv_bias=True,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                num_conv_pos_embeddings=config.position_kernel,
                num_conv_pos_embedding_groups=config.position_groups,
                mask_time_prob=0.0,
                layerdrop=0.0,
            )
        )
        # The parts alone: what else the model is made of is for training and for the hub, and hinders tracing.
        self.feature_extractor = model.feature_extractor
        self.feature_projection = model.feature_projection
        self.encoder = model.encoder

    def forward(self, waveform: Tensor) -> Tensor:
        """The encoder's output after its last layer norm."""
        features: Tensor = self.encoder.layer_norm(self.layer_outputs(waveform)[-1])
        return features.float()

    def layer_outputs(self, waveform: Tensor) -> list[Tensor]:
        """Each transformer layer's output, before the last layer norm, from one pass."""
        frames = self.feature_extractor(waveform.to(self.dtype)).transpose(1, 2)  # (batch, time, conv_channels)
        hidden, _ = self.feature_projection(frames)  # (batch, time, hidden)
        hidden = hidden + self.encoder.pos_conv_embed(hidden)
        outputs = []
        for layer in self.encoder.layers:
            hidden = layer(hidden)
            outputs.append(hidden.float())
        return outputs


class Fp32LayerNorm(nn.Module):
    """A layer norm in float32 between half-precision neighbours: its sums of squares overflow in float16."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, hidden: Tensor) -> Tensor:
        """Features normalised over the last axis; same shape and type."""
        normed: Tensor = self.norm(hidden.float())
        return normed.to(hidden.dtype)


def halve(encoder: Xlsr) -> Xlsr:
    """Let the encoder compute in float16, except its layer norms; changes it in place."""
    encoder.half()
    encoder.dtype = torch.float16
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LayerNorm):
                setattr(parent, name, Fp32LayerNorm(child))
    return encoder


def load_xlsr(
    state: State, prefix: str = PREFIX, pretraining_keys: tuple[str, ...] = PRETRAINING_KEYS
) -> tuple[Xlsr, dict[str, Tensor]]:
    """Build the encoder that a checkpoint holds under ``prefix``, its size read from the tensors.

    Args:
        state: the whole checkpoint.
        prefix, pretraining_keys: as the detector's `Family` states them.

    Returns:
        The encoder in eval mode, sharing the checkpoint's memory where that is float32, and the checkpoint's other
        tensors: the detector's head.

    Raises:
        CheckpointInvalid: no encoder, a missing or unexpected key, a shape that fits no XLS-R, or values that are no
            weights; lists the keys.
    """
    published = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    head = {key: value for key, value in state.items() if not key.startswith(prefix)}
    used = {key: value for key, value in published.items() if not key.startswith(pretraining_keys)}
    config = infer_config(used, prefix)
    encoder = _empty(config)
    names = renamed_keys(config)
    own_state = encoder.state_dict()
    problems = differences({old: own_state[new] for old, new in names.items()}, used)
    if any(problems.values()):
        raise CheckpointInvalid(f"this checkpoint's XLS-R encoder ({prefix}…) does not fit: {listed(problems)}")
    own = {names[key]: value.float() for key, value in used.items()}
    encoder.load_state_dict(own, strict=True, assign=True)
    # Once and for all: weight = g · v / ‖v‖, per position of the kernel.
    remove_parametrizations(encoder.encoder.pos_conv_embed.conv, "weight")
    return encoder.eval().requires_grad_(False), head


class XlsrDetector(nn.Module):
    """Waveform (batch, samples) → encoder features (batch, frames, hidden) → the head's logits (batch, 2).

    Some originals run the encoder twice in each forward pass; once gives the same numbers.
    """

    def __init__(self, encoder: Xlsr, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits of raw 16 kHz mono audio, both shapes as the class states."""
        logits: Tensor = self.head(self.features(waveform))
        return logits

    def features(self, waveform: Tensor) -> Tensor | list[Tensor]:
        """What the head is given: the encoder's output after its last norm, unless a detector wants more."""
        output: Tensor = self.encoder(waveform)
        return output


def infer_config(published: State, prefix: str = PREFIX) -> XlsrConfig:
    """Read an encoder's size from its tensors, by fairseq's names without prefix.

    Raises:
        CheckpointInvalid: the keys that tell the size are not there, or tell of no XLS-R.
    """
    try:
        position = published["encoder.pos_conv.0.weight_v"]
        convs = [published[f"feature_extractor.conv_layers.{i}.0.weight"] for i in range(len(CONV_STRIDES))]
        feed_forward = published["encoder.layers.0.fc1.weight"]
    except KeyError as error:
        raise CheckpointInvalid(
            f"this checkpoint holds no XLS-R encoder: expected {prefix}{error.args[0]}, found {len(published)} keys "
            f"that begin with {prefix!r}. Expected is the whole fine-tuned detector, not another model's file or a "
            "pre-trained encoder (such as xlsr2_300m.pt) alone"
        ) from None
    axes = [weight.ndim for weight in (feed_forward, position, *convs)]
    if axes != [2, 3, *(3 for _ in convs)] or 0 in position.shape:
        raise CheckpointInvalid(
            "this checkpoint holds no XLS-R encoder: expected a matrix and convolutions of three axes, "
            f"found {tuple(feed_forward.shape)}, {tuple(position.shape)}, {[tuple(conv.shape) for conv in convs]}"
        )
    hidden = position.shape[0]
    if hidden % HEADS or hidden % position.shape[1]:
        raise CheckpointInvalid(f"expected an encoder width that {HEADS} heads divide, found {tuple(position.shape)}")
    return XlsrConfig(
        # Counted without gaps: a key of any other index is then an unexpected one, and named.
        layers=next(i for i in count() if f"encoder.layers.{i}.fc1.weight" not in published),
        hidden=hidden,
        feed_forward=feed_forward.shape[0],
        conv_channels=convs[0].shape[0],
        conv_kernels=tuple(weight.shape[-1] for weight in convs),
        position_kernel=position.shape[2],
        position_groups=hidden // position.shape[1],
    )


def renamed_keys(config: XlsrConfig) -> dict[str, str]:
    """fairseq's name → transformers' name, for every tensor that scoring uses."""
    modules = {
        # post_extract_proj.weight → feature_projection.projection.weight
        "post_extract_proj": "feature_projection.projection",
        # layer_norm.weight → feature_projection.layer_norm.weight
        "layer_norm": "feature_projection.layer_norm",
        # encoder.layer_norm.weight → encoder.layer_norm.weight
        "encoder.layer_norm": "encoder.layer_norm",
    }
    for i in range(len(config.conv_kernels)):
        old, new = f"feature_extractor.conv_layers.{i}", f"feature_extractor.conv_layers.{i}"
        modules |= {
            # feature_extractor.conv_layers.0.0.weight → feature_extractor.conv_layers.0.conv.weight
            f"{old}.0": f"{new}.conv",
            # feature_extractor.conv_layers.0.2.1.weight → feature_extractor.conv_layers.0.layer_norm.weight
            f"{old}.2.1": f"{new}.layer_norm",
        }
    for i in range(config.layers):
        old, new = f"encoder.layers.{i}", f"encoder.layers.{i}"
        modules |= {
            # encoder.layers.0.self_attn.k_proj.weight → encoder.layers.0.attention.k_proj.weight; q, v, out alike
            **{f"{old}.self_attn.{name}_proj": f"{new}.attention.{name}_proj" for name in ("q", "k", "v", "out")},
            # encoder.layers.0.self_attn_layer_norm.weight → encoder.layers.0.layer_norm.weight
            f"{old}.self_attn_layer_norm": f"{new}.layer_norm",
            # encoder.layers.0.fc1.weight → encoder.layers.0.feed_forward.intermediate_dense.weight
            f"{old}.fc1": f"{new}.feed_forward.intermediate_dense",
            # encoder.layers.0.fc2.weight → encoder.layers.0.feed_forward.output_dense.weight
            f"{old}.fc2": f"{new}.feed_forward.output_dense",
            # encoder.layers.0.final_layer_norm.weight → encoder.layers.0.final_layer_norm.weight
            f"{old}.final_layer_norm": f"{new}.final_layer_norm",
        }
    position = "encoder.pos_conv_embed.conv"
    return {f"{old}.{leaf}": f"{new}.{leaf}" for old, new in modules.items() for leaf in ("weight", "bias")} | {
        # encoder.pos_conv.0.weight_g → encoder.pos_conv_embed.conv.parametrizations.weight.original0
        "encoder.pos_conv.0.weight_g": f"{position}.parametrizations.weight.original0",
        # encoder.pos_conv.0.weight_v → encoder.pos_conv_embed.conv.parametrizations.weight.original1
        "encoder.pos_conv.0.weight_v": f"{position}.parametrizations.weight.original1",
        # encoder.pos_conv.0.bias → encoder.pos_conv_embed.conv.bias
        "encoder.pos_conv.0.bias": f"{position}.bias",
    }


def shapes(config: XlsrConfig, prefix: str = PREFIX) -> Shapes:
    """Published key, with its prefix → shape, of every tensor that scoring uses."""
    own = {key: tuple(value.shape) for key, value in _empty(config).state_dict().items()}
    return {f"{prefix}{old}": own[new] for old, new in renamed_keys(config).items()}


def _empty(config: XlsrConfig) -> Xlsr:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return Xlsr(config)
