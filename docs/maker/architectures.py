"""What a detector is made of, and a picture of it: boxes from the waveform down to the score."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from dfexport.spec import DetectorSpec

FILE = Path(__file__).with_name("architectures.toml")
# wav2vec 2.0's extractor: kernels and strides, hence a frame of every 320 samples.
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
SCORES = {"logit": "logit of bona fide", "log_softmax": "log-probability of bona fide", "softmax": "probability"}
WIDTH, BOX, GAP, LEFT = 480, 46, 22, 4


@dataclass(frozen=True)
class Block:
    """A box of the picture.

    Attributes:
        name: what it is.
        detail: how large.
        out: shape of what comes out.
        learned: whether it was trained before, on other tasks: the encoder.
    """

    name: str
    detail: str
    out: str
    learned: bool = False


@dataclass(frozen=True)
class Architecture:
    """A detector's row of the file.

    Attributes:
        summary: what is special about it, in a sentence or two.
        cite: its key in citations.bib.
        encoder: key of the encoder; "" for a network without one.
        blocks: from the waveform to the score.
    """

    summary: str
    cite: str
    encoder: str
    blocks: tuple[Block, ...]


@cache
def rows() -> Mapping[str, Any]:
    """The file."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def frames(samples: int) -> int:
    """Frames that a wav2vec 2.0 encoder makes of so many samples."""
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def architecture(spec: DetectorSpec) -> Architecture:
    """Of a detector: the row of its own name, else that of its family's module.

    Raises:
        KeyError: the file has no row for it.
    """
    families, module = rows()["families"], spec.family.partition(":")[0]
    row = families.get(spec.name) or families.get(module)
    if row is None:
        raise KeyError(f"{spec.name}: docs/maker/architectures.toml has no row for it, nor for its family {module}")
    encoder = row.get("encoder") or row.get("encoders", {}).get(spec.name, "")
    values = {
        "frames": str(frames(spec.window_samples)),
        "width": str(rows()["encoders"].get(encoder, {}).get("width")),
    }
    blocks = [Block(*(text.format_map(values) for text in block)) for block in row["blocks"]]
    return Architecture(
        row["summary"], row["cite"], encoder, (*_begin(spec, encoder, row, values), *blocks, _end(spec))
    )


def _begin(spec: DetectorSpec, encoder: str, row: Mapping[str, Any], values: Mapping[str, str]) -> list[Block]:
    length = f"{spec.window_s:.4g} s" if spec.clip is None else f"a whole clip, here of {spec.window_s:.4g} s"
    begin = [Block("Waveform", f"16 kHz, mono, {length}", f"{spec.window_samples:,} samples")]
    if spec.preparation:
        begin.append(Block("Preparation", spec.preparation.partition(",")[0].partition(". ")[0], begin[0].out))
    if encoder:
        size = rows()["encoders"][encoder]
        detail = f"{size['layers']} layers of {size['width']}; taken: {row['taken']}"
        begin.append(Block(size["name"], detail, f"{values['frames']} × {size['width']}", learned=True))
    return begin


def _end(spec: DetectorSpec) -> Block:
    return Block("Score", f"{SCORES[spec.score_kind]}; higher is more bona fide", "1 number")


def picture(spec: DetectorSpec) -> str:
    """An SVG to stand inside a page: its colours are the page's."""
    blocks = architecture(spec).blocks
    height = len(blocks) * (BOX + GAP) - GAP + 2
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'aria-label="{escape(_in_words(spec.name, blocks))}" font-size="14">'
    ]
    for number, block in enumerate(blocks):
        top = 1 + number * (BOX + GAP)
        middle, kind = top + BOX // 2, ' class="learned"' if block.learned else ""
        parts.append(f'<rect{kind} x="{LEFT}" y="{top}" width="{WIDTH - 2 * LEFT}" height="{BOX}" rx="6"/>')
        parts.append(
            f'<text x="{LEFT + 12}" y="{middle - 3 if block.detail else middle + 5}">{escape(block.name)}</text>'
        )
        parts.append(
            f'<text class="detail" font-size="11.5" x="{LEFT + 12}" y="{middle + 15}">{escape(block.detail)}</text>'
        )
        parts.append(
            f'<text class="detail" font-size="11.5" text-anchor="end" x="{WIDTH - LEFT - 12}" y="{middle - 3}">'
            f"{escape(block.out)}</text>"
        )
        if number + 1 < len(blocks):
            x, y = WIDTH // 2, top + BOX
            parts.append(f'<path d="M{x} {y + 2}v{GAP - 6}m-4 -5l4 5l4 -5"/>')
    return "".join([*parts, "</svg>"])


def _in_words(name: str, blocks: tuple[Block, ...]) -> str:
    return f"{name}: " + "; ".join(f"{block.name}, out: {block.out}" for block in blocks)
