"""`dfclient perfdata`: recordings in, the JSON that perf_analyzer sends them from out."""

import argparse
from collections.abc import Iterator

from dfclient import perfdata
from dfclient.cli.console import audio_options_of, check_out, detector_of, notice, say
from dfclient.clips import clips_from
from dfclient.errors import AudioError, InputError
from dfcontract.files import whole_file
from dfcontract.tensors import Samples


def run(options: argparse.Namespace) -> int:
    """Run `dfclient perfdata` with its parsed options; 1 where a recording could not be read."""
    audio_options = audio_options_of(options)
    clips = clips_from(options.paths, notice)
    check_out(options.out, [*(path.removeprefix("@") for path in options.paths), *(clip.path for clip in clips)])
    failed = 0
    with detector_of(options) as detector:
        card = detector.card
        windowing = detector.windowing(options.mode, options.hop)

    def windows() -> Iterator[Samples]:
        nonlocal failed
        for clip in clips:
            try:
                yield from perfdata.windows_of(clip, card, windowing, audio_options)
            except AudioError as error:
                failed += 1
                notice(f"{clip.path}: left out: {error}")

    with whole_file(options.out) as file:
        count = perfdata.write(windows(), file)
        if not count:
            raise InputError(f"none of {len(clips)} recordings could be read, so there is nothing to send")
    say(f"{count} windows of {len(clips) - failed} recordings written to {options.out}; for example:")
    say(f"perf_analyzer -m {card.model} -i grpc -u {options.url} --input-data {options.out} --concurrency-range 8")
    return 1 if failed else 0
