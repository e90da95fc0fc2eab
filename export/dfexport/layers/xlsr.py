"""wav2vec 2.0 XLS-R and its relatives, from the weights inside a fine-tuned checkpoint to an encoder without fairseq.

Babu et al., "XLS-R: Self-supervised Cross-lingual Speech Representation Learning at Scale", Interspeech 2022, arXiv
2111.09296; Baevski et al., "wav2vec 2.0", NeurIPS 2020, arXiv 2006.11477; Hsu et al., "HuBERT", arXiv 2106.07447, whose
encoder is the same; reference code: fairseq 0.12, ``models/wav2vec/wav2vec2.py``. The blocks are those of transformers'
``Wav2Vec2Model``; they are called one by one here, since which of its ``hidden_states`` come before the last norm has
changed between versions.
"""

from dataclasses import dataclass, fields
from functools import cache
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import remove_parametrizations
from transformers import Wav2Vec2Config, Wav2Vec2Model

from dfexport.errors import CheckpointInvalid, listed
from dfexport.layers.xlsr_names import FAIRSEQ, Names
from dfexport.seeded import SeededRules
from dfexport.state import Shapes, State, differences, shapes_of

PREFIX = "ssl_model.model."  # as the detectors that grew out of SSL_Anti-spoofing call it
# None can be read from a tensor's shape. Heads are those of XLS-R 300M, 1B and 2B, and of the post-norm base model.
HEADS, POST_NORM_HEADS = 16, 12
CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
# Beginnings of the keys that only pre-training used; fine-tuned checkpoints still carry them.
PRETRAINING_KEYS = ("mask_emb", "quantizer.", "project_q.", "final_proj.")

# Weight norm's gain, as torch has called it before and since version 2.0.
SEEDED_RULES: SeededRules = {name: lambda noise: 1 + 0.1 * np.abs(noise) for name in ("weight_g", "original0")}


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
        conv_bias: whether the extractor's convolutions have one.
        pre_norm: whether norms come before each block, with one more at the end, and the extractor has one in every
            layer; otherwise (wav2vec 2.0 base) they come after it, the one more comes first, and the extractor has a
            group norm in its first layer alone.
    """

    layers: int = 24
    hidden: int = 1024
    feed_forward: int = 4096
    conv_channels: int = 512
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    position_kernel: int = 128
    position_groups: int = 16
    conv_bias: bool = True
    pre_norm: bool = True

    @property
    def heads(self) -> int:
        """Heads of each layer's attention."""
        return HEADS if self.pre_norm else POST_NORM_HEADS

    def frames(self, samples: int) -> int:
        """Frames that a waveform of ``samples`` samples becomes."""
        for kernel, stride in zip(self.conv_kernels, CONV_STRIDES, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


XLSR_300M = XlsrConfig()
XLSR_1B = XlsrConfig(layers=48, hidden=1280, feed_forward=5120)
XLSR_2B = XlsrConfig(layers=48, hidden=1920, feed_forward=7680)
W2V_BASE = XlsrConfig(layers=12, hidden=768, feed_forward=3072, conv_bias=False, pre_norm=False)
HUBERT_XLARGE = XlsrConfig(layers=48, hidden=1280, feed_forward=5120, conv_bias=False)


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
                num_attention_heads=config.heads,
                intermediate_size=config.feed_forward,
                conv_dim=(config.conv_channels,) * len(config.conv_kernels),
                conv_kernel=config.conv_kernels,
                conv_stride=CONV_STRIDES,
                conv_bias=config.conv_bias,
                feat_extract_norm="layer" if config.pre_norm else "group",
                do_stable_layer_norm=config.pre_norm,
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
        return self.finished(self.layer_outputs(waveform)[-1])

    def layer_outputs(self, waveform: Tensor) -> list[Tensor]:
        """Each transformer layer's output, before the last layer norm, from one pass."""
        return self.hidden_states(waveform)[1:]

    def hidden_states(self, waveform: Tensor) -> list[Tensor]:
        """What the first layer is given, and each layer's output before the last layer norm, from one pass."""
        frames = self.feature_extractor(waveform.to(self.dtype)).transpose(1, 2)  # (batch, time, conv_channels)
        hidden, _ = self.feature_projection(frames)  # (batch, time, hidden)
        hidden = hidden + self.encoder.pos_conv_embed(hidden)
        if not self.config.pre_norm:
            hidden = self.encoder.layer_norm(hidden)
        states = [hidden.float()]
        for layer in self.encoder.layers:
            hidden = layer(hidden)
            states.append(hidden.float())
        return states

    def finished(self, output: Tensor) -> Tensor:
        """The last layer's output after the encoder's last norm; a post-norm encoder's has been normalised already."""
        if not self.config.pre_norm:
            return output
        features: Tensor = self.encoder.layer_norm(output)
        return features.float()


def load_xlsr(
    state: State,
    prefix: str = PREFIX,
    pretraining_keys: tuple[str, ...] = PRETRAINING_KEYS,
    names: Names = FAIRSEQ,
) -> tuple[Xlsr, dict[str, Tensor]]:
    """Build the encoder that a checkpoint holds under ``prefix``, its size read from the tensors.

    Args:
        state: the whole checkpoint.
        prefix, pretraining_keys: as the detector's `Family` states them.
        names: what the checkpoint calls the encoder's tensors.

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
    config = infer_config(used, prefix, names)
    encoder = _empty(config)
    renamed = names.renamed(config)
    own_state = encoder.state_dict()
    problems = differences({old: own_state[new] for old, new in renamed.items()}, used)
    if any(problems.values()):
        raise CheckpointInvalid(f"this checkpoint's XLS-R encoder ({prefix}…) does not fit: {listed(problems)}")
    own = {renamed[key]: value.float() for key, value in used.items()}
    encoder.load_state_dict(own, strict=True, assign=True)
    # Once and for all: weight = g · v / ‖v‖, per position of the kernel.
    remove_parametrizations(encoder.encoder.pos_conv_embed.conv, "weight")
    return encoder.eval().requires_grad_(False), head


def require_kind(found: XlsrConfig, expected: XlsrConfig) -> None:
    """Refuse another encoder than a detector's, where its relatives differ in nothing else; layers may be fewer.

    Raises:
        CheckpointInvalid: says in what it differs.
    """
    differing = {
        field.name: (getattr(expected, field.name), getattr(found, field.name))
        for field in fields(XlsrConfig)
        if field.name != "layers" and getattr(expected, field.name) != getattr(found, field.name)
    }
    if differing:
        words = ", ".join(f"{name} {wanted}, found {here}" for name, (wanted, here) in differing.items())
        raise CheckpointInvalid(f"another encoder than this detector's: expected {words}")


class XlsrDetector(nn.Module):
    """Waveform (batch, samples) → encoder features (batch, frames, hidden) → the head's logits (batch, 2).

    Some originals run the encoder twice in each forward pass; once gives the same numbers.

    Args:
        encoder, head: the network.
        prepare: what its authors do to a waveform first; same shape.
    """

    def __init__(self, encoder: Xlsr, head: nn.Module, prepare: nn.Module | None = None) -> None:
        super().__init__()
        self.prepare = prepare or nn.Identity()
        self.encoder = encoder
        self.head = head

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits of raw 16 kHz mono audio, both shapes as the class states."""
        logits: Tensor = self.head(self.features(self.prepare(waveform)))
        return logits

    def features(self, waveform: Tensor) -> Tensor | list[Tensor]:
        """What the head is given: the encoder's output after its last norm, unless a detector wants more."""
        output: Tensor = self.encoder(waveform)
        return output


def infer_config(published: State, prefix: str = PREFIX, names: Names = FAIRSEQ) -> XlsrConfig:
    """Read an encoder's size from its tensors, by their published names without prefix.

    Raises:
        CheckpointInvalid: the keys that tell the size are not there, or tell of no XLS-R.
    """
    try:
        position = published[names.position]
        convs = [published[f"{names.conv.format(i)}.weight"] for i in range(len(CONV_STRIDES))]
        feed_forward = published[names.feed_forward.format(0)]
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
    config = XlsrConfig(
        # Counted without gaps: a key of any other index is then an unexpected one, and named.
        layers=next(i for i in count() if names.feed_forward.format(i) not in published),
        hidden=hidden,
        feed_forward=feed_forward.shape[0],
        conv_channels=convs[0].shape[0],
        conv_kernels=tuple(weight.shape[-1] for weight in convs),
        position_kernel=position.shape[2],
        position_groups=hidden // position.shape[1],
        conv_bias=any(f"{names.conv.format(i)}.bias" in published for i in range(len(convs))),
        pre_norm=names.group_norm not in published,
    )
    if hidden % config.heads or hidden % position.shape[1]:
        raise CheckpointInvalid(
            f"expected an encoder width that {config.heads} heads divide, found {tuple(position.shape)}"
        )
    return config


def shapes(config: XlsrConfig, prefix: str = PREFIX, names: Names = FAIRSEQ) -> Shapes:
    """Published key, with its prefix → shape, of every tensor that scoring uses."""
    own = _own_shapes(config)
    return {f"{prefix}{old}": own[new] for old, new in names.renamed(config).items()}


@cache
def _own_shapes(config: XlsrConfig) -> Shapes:
    return shapes_of(_empty(config))


def _empty(config: XlsrConfig) -> Xlsr:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return Xlsr(config)
