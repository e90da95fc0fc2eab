"""Recordings in many forms, written by PyAV and soundfile: for tests that need them."""

from pathlib import Path

import numpy as np
import soundfile

SIXTEEN_BITS = {"wavpack": "s16p", "tta": "s16"}  # whose first choice are 8
INTEGER_FORMATS = {"u8": (np.uint8, 7, 128), "s16": (np.int16, 15, 0), "s32": (np.int32, 31, 0)}


def speechlike(n_samples: int, rate_hz: int, seed: int = 1) -> np.ndarray:
    """(n_samples,) float32 of tones below 3 kHz, on the grid of 16-bit samples."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / rate_hz
    tones = sum(
        rng.uniform(0.02, 0.1) * np.sin(2 * np.pi * rng.uniform(100, 3000) * time_s + rng.uniform(0, 6))
        for _ in range(6)
    )
    signal = tones * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))
    return (np.round(signal * 32768) / 32768).astype(np.float32)


def encode(
    path: Path,
    samples: np.ndarray,
    rate_hz: int,
    codec: str,
    *,
    layout: str | None = None,
    container: str | None = None,
    options: dict | None = None,
) -> Path:
    """Write (frames,) or (frames, channels) with FFmpeg; `container`: its muxer's name, else by the suffix."""
    write_tracks(path, [samples], rate_hz, codec, layout=layout, container=container, options=options)
    return path


def write_tracks(
    path: Path,
    tracks: list[np.ndarray],
    rate_hz: int,
    codec: str,
    *,
    layout: str | None = None,
    container: str | None = None,
    languages: tuple[str, ...] = (),
    default: int | None = None,
    options: dict | None = None,
) -> None:
    """Write a file with several audio tracks; `default`: which of them bears the flag."""
    import av

    with av.open(str(path), "w", format=container, options=options or {}) as output:
        streams = []
        for number, samples in enumerate(tracks):
            channels = 1 if samples.ndim == 1 else samples.shape[1]
            stream = output.add_stream(codec, rate=rate_hz, layout=layout or {1: "mono", 2: "stereo"}[channels])
            if codec.startswith("wma"):
                stream.codec_context.bit_rate = 32_000
            if codec in SIXTEEN_BITS:
                stream.codec_context.format = SIXTEEN_BITS[codec]
            if number < len(languages):
                stream.metadata["language"] = languages[number]
            if default is not None:
                stream.disposition = int(number == default)
            streams.append(stream)
        for stream, samples in zip(streams, tracks, strict=True):
            for frame in _frames(samples, rate_hz, stream):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


def _frames(samples: np.ndarray, rate_hz: int, stream):
    import av

    frames = samples[:, np.newaxis] if samples.ndim == 1 else samples
    name = stream.codec_context.format.name
    kind = name.removesuffix("p")
    if kind in INTEGER_FORMATS:
        dtype, bits, zero = INTEGER_FORMATS[kind]
        frames = (np.clip(np.round(frames.astype(np.float64) * 2.0**bits), -(2**bits), 2**bits - 1) + zero).astype(
            dtype
        )
    else:
        frames = frames.astype(np.float64 if kind == "dbl" else np.float32)
    step = stream.codec_context.frame_size or 4096
    for start in range(0, len(frames), step):
        part = frames[start : start + step]
        data = part.T if name.endswith("p") and name != kind else part.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=name, layout=stream.layout.name)
        frame.sample_rate, frame.pts = rate_hz, start
        yield frame


def write_sound(path: Path, samples: np.ndarray, rate_hz: int, **options) -> Path:
    """Write with libsndfile."""
    soundfile.write(path, samples, rate_hz, **options)
    return path
