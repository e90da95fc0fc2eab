"""Codecs, there and back through FFmpeg (PyAV, the extra `containers`); none is home-made."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from dfcontract.tensors import SAMPLE_RATE_HZ
from dfeval.degrade.effects import TELEPHONE_RATE_HZ, fitted, resampled, telephone_band
from dfeval.errors import EvalError
from dfeval.metrics.eer import Floats

HINT = "pip install 'dfserve[containers]'"


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg, and how it is fed.

    Attributes:
        encoder: FFmpeg's name.
        container: that its packets go in.
        rate_hz: that it is fed.
        is_telephone: whether it is fed what a telephone line passes.
        delay: samples at `rate_hz` by which what comes out is late; of the others, FFmpeg's containers take care.
    """

    encoder: str
    container: str
    rate_hz: int
    is_telephone: bool = False
    delay: int = 0


CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "telephone-alaw": Codec("pcm_alaw", "wav", TELEPHONE_RATE_HZ, is_telephone=True),
        "telephone-mulaw": Codec("pcm_mulaw", "wav", TELEPHONE_RATE_HZ, is_telephone=True),
        "amr-nb": Codec("libopencore_amrnb", "amr", TELEPHONE_RATE_HZ, is_telephone=True, delay=40),
        "g722": Codec("g722", "g722", SAMPLE_RATE_HZ, delay=22),
        "mp3": Codec("libmp3lame", "mp3", SAMPLE_RATE_HZ),
        "aac": Codec("aac", "mp4", SAMPLE_RATE_HZ),
        "opus": Codec("libopus", "ogg", SAMPLE_RATE_HZ),
    }
)


def missing(name: str) -> str:
    """Why a codec can't be had here, in words; empty where it can."""
    try:
        import av
    except ImportError:
        return f"PyAV is not installed: {HINT}"
    encoder = CODECS[name].encoder
    try:
        av.Codec(encoder, "w")
    except ValueError:  # PyAV's UnknownCodecError is one
        return f"this FFmpeg has no encoder {encoder}"
    return ""


def through_codec(waveform: Floats, name: str, kbps: float | None) -> Floats:
    """A waveform (16 kHz, mono) encoded and decoded; as long as before, and nothing moved in time.

    Args:
        waveform: shape (n_samples,).
        name: a key of `CODECS`.
        kbps: kbit/s; None for a codec that has one rate.

    Raises:
        EvalError: FFmpeg refuses it: a bit rate that the codec does not have, say.
    """
    import av

    codec = CODECS[name]
    fed = np.pad(telephone_band(waveform) if codec.is_telephone else waveform, (0, codec.delay))
    try:
        decoded, rate_hz = _decoded(_encoded(fed, codec, kbps), codec.container)
    except av.FFmpegError as error:
        raise EvalError(f"FFmpeg's {codec.encoder} can't do it: {error}") from None
    return fitted(resampled(decoded[codec.delay :], rate_hz, SAMPLE_RATE_HZ), len(waveform))


def versions() -> dict[str, str]:
    """PyAV's and its FFmpeg libraries' versions; empty without PyAV."""
    try:
        import av
    except ImportError:
        return {}
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"av": av.__version__, **libraries}


def _encoded(waveform: Floats, codec: Codec, kbps: float | None) -> bytes:
    import av

    file = io.BytesIO()
    # Without bitexact a file says when and by what it was made; one thread, so that a run can be repeated to the bit.
    with av.open(file, "w", format=codec.container, container_options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(codec.encoder, rate=codec.rate_hz, layout="mono")
        stream.codec_context.thread_count = 1
        if kbps is not None:
            stream.codec_context.bit_rate = round(1000 * kbps)
        frame = av.AudioFrame.from_ndarray(waveform.astype(np.float32)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = codec.rate_hz, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _decoded(content: bytes, container: str) -> tuple[Floats, int]:
    import av

    with av.open(io.BytesIO(content), format=container) as opened:
        return decoded_of(opened)


def decoded_of(container: Any) -> tuple[Floats, int]:
    """An opened container's first audio stream, all channels as one, and its rate in Hz."""
    import av

    if not container.streams.audio:
        raise EvalError("expected audio, found none in it")
    blocks = []
    resampler = av.AudioResampler(format="fltp", layout="mono")
    rate_hz = 0
    for frame in container.decode(container.streams.audio[0]):
        rate_hz = frame.sample_rate
        blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    if not blocks:
        raise EvalError("expected audio, found none in it")
    return np.concatenate(blocks).astype(np.float64), rate_hz
