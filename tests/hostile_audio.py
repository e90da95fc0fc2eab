"""Mutations of small recordings of every kind, decoded under bounds of time and memory; a program and a test's helper.

    python tests/hostile_audio.py COUNT [SEED] [--decoder hang|crash] [--limit-s S]

A process of its own decodes them one by one and is killed at one that takes too long. What should not be is a line: a
crash, a hang, another exception than AudioError, samples that are not finite, and a recording that was read without a
warning though FFmpeg calls it damaged. SEED and the line's number make the same mutation again. The last line is JSON:
counts, the longest time, the most memory.
"""

import argparse
import io
import json
import os
import random
import re
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

import audio_forms
from dfclient import audio
from dfclient.errors import AudioError

RATE_HZ = 16000
LIMIT_S = 10.0  # of CPU time, for one recording
PATIENCE = 12  # so many times as long a machine with other work may take
UNKNOWN_BYTES = 0x7FFF0000  # a size from here on means, in a WAV, that its writer did not know it
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
    "a.voc": ("VOC", "PCM_16"),
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
    "a.tta": ("tta", "tta"),
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


def complaint_of_ffmpeg(content: bytes) -> str:
    """What FFmpeg calls damaged; "" for nothing.

    An error anywhere, packets or frames that it marks as corrupt, no audio at all. Not: the last packet of a WAV whose
    size stands for 'not known', as pipes write it. FFmpeg marks that for being less than a full one; it is all there.
    """
    import av

    corrupt, last_is_corrupt, samples = 0, False, 0
    try:
        with av.open(io.BytesIO(content), metadata_errors="replace") as container:
            for packet in container.demux(container.streams.audio[0]):
                if packet.size:
                    corrupt, last_is_corrupt = corrupt + packet.is_corrupt, packet.is_corrupt
                for frame in packet.decode():
                    corrupt, samples = corrupt + frame.is_corrupt, samples + frame.samples
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not samples:
        return "no samples"
    size = re.search(b"data(.{4})", content, re.DOTALL) if content.startswith(b"RIFF") else None
    is_unknown = size is not None and int.from_bytes(size[1], "little") >= UNKNOWN_BYTES
    is_pipes = is_unknown and corrupt == 1 and last_is_corrupt
    return f"{corrupt} corrupt packets or frames" if corrupt and not is_pipes else ""


def mutation(recordings: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """The `number`-th mutation: the original's name and what has become of it."""
    name = sorted(recordings)[number % len(recordings)]
    return name, mutated(recordings[name], random.Random(f"{seed}/{number}"))


def hang(path: Path, rate_hz: int) -> None:
    """A decoder that never ends."""
    while True:
        pass


def crash(path: Path, rate_hz: int) -> None:
    """A decoder that takes its process along."""
    signal.raise_signal(signal.SIGSEGV)


DECODERS = {"dfclient": audio.load, "hang": hang, "crash": crash}


def outcome_of(path: Path, decoder: str) -> str:
    """What comes of a recording: in capitals what should not."""
    try:
        loaded = DECODERS[decoder](path, RATE_HZ)
    except AudioError:
        return "refused"
    except Exception as error:
        return f"EXCEPTION {type(error).__name__}: {error}"
    if not np.isfinite(loaded.samples).all():
        return "NOT FINITE"
    return "warned" if loaded.warnings else "read"


def child(seed: int, decoder: str, limit_s: float) -> None:
    """Answer each number on standard input with a line as soon as it is decoded, and one when FFmpeg has seen it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Answers alone go where they are read: libsndfile's ALAC decoder prints what it stumbles over to standard output.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        recordings = originals(Path(folder))
        for line in sys.stdin:
            used_s = time.process_time()
            resource.setrlimit(resource.RLIMIT_CPU, (int(used_s + limit_s + 1), resource.RLIM_INFINITY))
            name, content = mutation(recordings, seed, int(line))
            path = Path(folder) / name
            path.write_bytes(content)
            outcome = outcome_of(path, decoder)
            seconds, peak_kb = time.process_time() - used_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps([name, outcome, seconds, peak_kb]), flush=True)
            is_silent = outcome == "read" and content != recordings[name]
            print(json.dumps(complaint_of_ffmpeg(content) if is_silent and "a.m4a" in recordings else ""), flush=True)


class Child:
    """The process that decodes; a new one after each that has died."""

    def __init__(self, seed: int, decoder: str, limit_s: float) -> None:
        self._command = [
            sys.executable,
            __file__,
            "--child",
            str(seed),
            "--decoder",
            decoder,
            "--limit-s",
            str(limit_s),
        ]
        self._patience_s = PATIENCE * limit_s
        self._process: subprocess.Popen | None = None

    def ask(self, number: int) -> None:
        if self._process is None:
            # What mpg123 says of damage goes to standard error, and nowhere else.
            self._process = subprocess.Popen(
                self._command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        self._process.stdin.write(b"%d\n" % number)
        self._process.stdin.flush()

    def answer(self):
        """Its next line's value; the end of the process as text where there is none."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(self._patience_s) else b""
        if line:
            return json.loads(line)
        self._process.kill()
        _, status = self._process.communicate(), self._process.returncode
        self._process = None
        return (
            "HUNG" if status in (-signal.SIGXCPU, -signal.SIGKILL) else f"CRASHED with {signal.Signals(-status).name}"
        )

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


def run(count: int, seed: int, decoder: str = "dfclient", limit_s: float = LIMIT_S) -> dict:
    """Decode so many mutations; what came of them."""
    outcomes: Counter[str] = Counter()
    slowest_s = peak_kb = 0
    process = Child(seed, decoder, limit_s)
    for number in range(count):
        process.ask(number)
        answer = process.answer()
        name, outcome = "?", answer
        if not isinstance(answer, str):
            name, outcome, seconds, kb = answer
            slowest_s, peak_kb = max(slowest_s, seconds), max(peak_kb, kb)
            complaint = process.answer()  # where FFmpeg itself hangs or crashes: none of ours
            if complaint and not complaint.startswith(("HUNG", "CRASHED")):
                outcome = f"SILENT, though FFmpeg says {complaint}"
        outcomes[outcome.partition(" ")[0].rstrip(",")] += 1
        if outcome[0].isupper():
            print(f"{number} {name}: {outcome}", flush=True)
    process.close()
    return {"outcomes": dict(outcomes), "slowest_s": round(slowest_s, 2), "peak_mb": peak_kb // 1024}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?")
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--decoder", choices=DECODERS, default="dfclient")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S)
    parser.add_argument("--child", type=int, metavar="SEED")
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.decoder, options.limit_s)
    else:
        print(json.dumps(run(options.count, options.seed, options.decoder, options.limit_s)))


if __name__ == "__main__":
    main()
