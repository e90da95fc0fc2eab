"""Mutations of small recordings of every kind, decoded under bounds of time and memory; a program and a test's helper.

    python tests/client/hostile_audio.py COUNT [SEED]

Prints a line a finding (a crash, another exception than AudioError, more than a second, non-finite samples, a score
without a warning for what FFmpeg refuses) and ends with a JSON line of counts and peak memory.
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))
import audio_forms
from dfclient import audio
from dfclient.errors import AudioError

RATE_HZ = 16000
SLOW_S = 10.0
SNDFILE = {  # name → format and subtype
    "a.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "ULAW"),
    "a.caf": ("CAF", "ALAC_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.rf64": ("RF64", "PCM_16"),
    "a.sph": ("NIST", "PCM_16"),
}
FFMPEG = {  # name → codec and muxer
    "a.m4a": ("aac", "ipod"),
    "a.aac": ("aac", "adts"),
    "a.mka": ("flac", "matroska"),
    "a.webm": ("libopus", "webm"),
    "a.wma": ("wmav2", "asf"),
    "a.amr": ("libopencore_amrnb", "amr"),
    "g722.wav": ("g722", "wav"),
    "flac.ogg": ("flac", "ogg"),
    "a.ts": ("aac", "mpegts"),
    "a.flv": ("aac", "flv"),
    "a.wv": ("wavpack", "wv"),
    "a.ac3": ("ac3", "ac3"),
    "a.avi": ("pcm_s16le", "avi"),
}
RATES_HZ = {"libopus": 48000, "libopencore_amrnb": 8000, "ac3": 48000, "a.flv": 44100}


def originals(folder: Path) -> dict[str, bytes]:
    """A small recording of every kind, half a second long."""
    found = {}
    for name, (kind, subtype) in SNDFILE.items():
        soundfile.write(folder / name, audio_forms.speechlike(8000, RATE_HZ), RATE_HZ, format=kind, subtype=subtype)
        found[name] = (folder / name).read_bytes()
    try:
        import av  # noqa: F401
    except ImportError:
        return found
    for name, (codec, muxer) in FFMPEG.items():
        rate_hz = RATES_HZ.get(name, RATES_HZ.get(codec, RATE_HZ))
        samples = audio_forms.speechlike(rate_hz // 2, rate_hz)
        found[name] = audio_forms.encode(folder / name, samples, rate_hz, codec, container=muxer).read_bytes()
    return found


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` with a few bytes, numbers or passages changed, moved, doubled, taken out or cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        # Headers are short, and most of what can go wrong stands in them.
        limit = len(changed) if rng.random() < 0.5 else min(len(changed), 256)
        at = rng.randrange(max(limit, 1))
        kind = rng.randrange(8)
        length = rng.choice((1, 2, 4, 8, 64, 1000))
        if kind <= 1:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            number = rng.choice((0, 1, -1, 2**31 - 1, -(2**31), 2**16 - 1, rng.randrange(-(2**31), 2**31)))
            changed[at : at + 4] = (number & 0xFFFFFFFF).to_bytes(4, rng.choice(("little", "big")))
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = rng.randbytes(length)
        elif kind == 5:
            passage = changed[at : at + length]
            place = rng.randrange(len(changed) + 1)
            changed[place:place] = passage
        elif kind == 6:
            changed[at : at + length] = bytes(min(length, len(changed) - at))
        else:
            del changed[rng.randrange(len(changed) + 1) :]
        if not changed:
            break
    return bytes(changed)


def ffmpeg_refuses(content: bytes) -> bool:
    """Whether FFmpeg itself stops at an error somewhere."""
    import io

    import av

    try:
        with av.open(io.BytesIO(content), metadata_errors="replace") as container:
            for _ in container.decode(audio=0):
                pass
    except Exception:
        return True
    return False


def run(count: int, seed: int) -> dict:
    """Decode so many mutations; what came of them."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        recordings = originals(Path(folder))
        names = sorted(recordings)
        for number in range(count):
            name = names[number % len(names)]
            content = mutated(recordings[name], rng)
            path = Path(folder) / name
            path.write_bytes(content)
            started_s = time.monotonic()
            try:
                loaded = audio.load(path, RATE_HZ)
            except AudioError:
                outcome = "refused"
            except Exception as error:
                outcome = f"OTHER EXCEPTION {type(error).__name__}: {error}"
            else:
                outcome = "warned" if loaded.warnings else "read"
                if not np.isfinite(loaded.samples).all():
                    outcome = "NOT FINITE"
            seconds = time.monotonic() - started_s
            slowest_s = max(slowest_s, seconds)
            if seconds > SLOW_S:
                outcome = f"SLOW {seconds:.1f} s"
            if outcome == "read" and content != recordings[name] and ffmpeg_refuses(content):
                outcome = "read, FFmpeg refuses"
            outcomes[outcome] += 1
            if outcome[0].isupper() or outcome.startswith("read,"):
                print(f"{number} {name}: {outcome}", flush=True)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"outcomes": dict(outcomes), "slowest_s": round(slowest_s, 2), "peak_mb": peak_mb}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)))
