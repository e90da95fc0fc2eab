"""What the commands share: lines on standard error, and a word when the server keeps them waiting."""

import argparse
import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dfclient.audio import AudioOptions
from dfclient.credentials import Credentials, api_key_of_environment
from dfclient.detector import Detector
from dfclient.errors import InputError
from dfclient.fused import FusedDetector
from dfclient.retry import RetryPolicy
from dfcontract.errors import WindowError
from dfcontract.fusion import Fusion
from dfcontract.score_appending import Opening
from dfcontract.text import printable
from dfcontract.windows import check_choices

NOTICE_EVERY_S = 10.0


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def notice(text: str) -> None:
    """A line on standard error about what the user gave."""
    say(f"dfclient: {printable(text)}")


def opening_of(options: argparse.Namespace) -> Opening:
    """What to do about a score file that is there; InputError where no file is written."""
    if options.out is None and (options.resume or options.overwrite):
        raise InputError("--resume and --overwrite say how to write --out FILE, which was not given")
    return Opening(resume=options.resume, overwrite=options.overwrite)


def check_out(out: Path | None, inputs: Iterable[str]) -> None:
    """Refuse a folder, and to write the score file over what it is made from, whatever the two paths look like."""
    if out is None:
        return
    if out.is_dir():
        raise InputError(f"--out {out}: expected the name of a file to write, found a folder")
    if not out.exists():
        return
    written = out.stat()
    for path in inputs:
        with suppress(OSError, ValueError):  # what can't be looked at is that recording's own error
            if os.path.samestat(written, os.stat(path)):  # noqa: PTH116
                raise InputError(f"--out {out} is {path}, one of the inputs: give the score file a name of its own")


def check_windowing(mode: str, options: argparse.Namespace) -> None:
    """Refuse a hop or a pool that no detector can have, before a server is asked for its own."""
    try:
        check_choices(mode, options.hop, options.pool)
    except WindowError as error:
        raise InputError(str(error)) from None


def audio_options_of(options: argparse.Namespace) -> AudioOptions:
    """Which part of a recording is scored; InputError where that names none."""
    return AudioOptions.parsed(options.channels, options.track)


def credentials_of(options: argparse.Namespace) -> Credentials:
    """How the connection is secured; InputError where the options do not go together."""
    files = (options.ca, options.cert, options.key)
    tls = options.tls or any(files) or bool(options.server_name)
    return Credentials(tls, *files, options.server_name, api_key=api_key_of_environment())


@contextmanager
def detector_of(options: argparse.Namespace) -> Iterator[Detector]:
    """The detector that the options name; while its server is away, a line says so now and then."""
    with _notices(), Detector(options.url, options.model, **_way_of(options)) as detector:
        yield detector


@contextmanager
def fused_of(options: argparse.Namespace) -> Iterator[FusedDetector]:
    """The members of the fusion that the options name, likewise.

    Raises:
        CalibrationError: its file can't be read as one.
    """
    fusion = Fusion.load(options.fusion)
    with _notices(), FusedDetector(options.url, fusion, **_way_of(options)) as detector:
        yield detector


def _way_of(options: argparse.Namespace) -> dict[str, Any]:
    if not 0 <= options.wait < math.inf:
        raise InputError(f"--wait: expected seconds from 0 on, found {options.wait:g}")
    retry = RetryPolicy(wait_s=options.wait)
    return {"timeout_s": options.timeout, "retry": retry, "credentials": credentials_of(options)}


@contextmanager
def _notices() -> Iterator[None]:
    handler = _Notice()
    logger = logging.getLogger("dfclient")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Notice(logging.Handler):
    """Prints why a request is tried again; not for each of many requests that fail together."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._last_s = -NOTICE_EVERY_S

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless another one has just been."""
        now_s = time.monotonic()
        if now_s - self._last_s >= NOTICE_EVERY_S:
            self._last_s = now_s
            notice(record.getMessage())
