"""`FusedDetector`: several models of one server whose scores a fusion makes one log-likelihood ratio of."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from dfclient import audio
from dfclient.audio import AudioOptions
from dfclient.calls import DEFAULT_TIMEOUT_S, DEFAULT_URL, TritonCalls
from dfclient.clips import Recording
from dfclient.connection import Connection
from dfclient.credentials import Credentials
from dfclient.detector import DEFAULT_CONCURRENCY, Detector, checked_concurrency, load_recording
from dfclient.errors import InputError, ModelNotFound
from dfclient.results import Failed, Score, run_values
from dfclient.retry import RetryPolicy
from dfcontract.calibration import BONA_FIDE
from dfcontract.card import ModelCard
from dfcontract.fusion import Fusion, Member
from dfcontract.windows import PROTOCOL, Windowing

JOINT = " + "  # between what the members state, where that differs


@dataclass(frozen=True)
class FusedScore:
    """How bona fide one recording sounds to several models together; `score` is the fused LLR."""

    members: tuple[Score, ...]  # in the fusion's order
    llr: float  # natural-log likelihood ratio, bona fide over spoof
    fusion: Fusion = field(repr=False)

    @classmethod
    def of(cls, members: Sequence[Score], fusion: Fusion) -> "FusedScore":
        """The fused score of one recording's scores by each member, in the fusion's order."""
        scores = {name: one.score for name, one in zip(fusion.detectors, members, strict=True)}
        return cls(tuple(members), float(fusion.llr(scores)), fusion)

    @property
    def utt_id(self) -> str:
        """The name that its row goes by."""
        return self.members[0].utt_id

    @property
    def path(self) -> str:
        """Of the recording; "" for what is no file."""
        return self.members[0].path

    @property
    def score(self) -> float:
        """The LLR; higher is more bona fide."""
        return self.llr

    @property
    def verdict(self) -> str:
        """`bona_fide` or `spoof` at the fusion's threshold."""
        return self.fusion.verdict(self.llr)

    @property
    def above_threshold(self) -> bool:
        """Whether it is called bona fide."""
        return self.verdict == BONA_FIDE

    @property
    def duration_s(self) -> float:
        """Of the recording."""
        return self.members[0].duration_s

    @property
    def channel(self) -> int | None:
        """From 1 on, where each channel is scored by itself."""
        return self.members[0].channel

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know about the audio; each member's windows are others, so they may differ."""
        return tuple(dict.fromkeys(warning for one in self.members for warning in one.warnings))

    @property
    def is_cut(self) -> bool:
        """Whether a member has scored the recording's beginning alone."""
        return any(one.is_cut for one in self.members)

    def as_dict(self) -> dict[str, Any]:
        """The values of a score file's columns; `member_scores` are the members' own."""
        first = self.members[0].as_dict()
        of_recording = ("utt_id", "path", "duration_s", "sample_rate_hz", "channels")
        return {
            **_joint([one.as_dict() for one in self.members]),
            **{name: first[name] for name in of_recording},
            **_of_fusion(self.fusion),
            "score": self.llr,
            "member_scores": tuple(one.score for one in self.members),
            "llr": self.llr,
            "verdict": self.verdict,
            "warnings": self.warnings,
        }


class FusedDetector(Connection):
    """The members of a fusion on one server.

        with FusedDetector("host:8001", Fusion.load(Path("fusion.json"))) as fused:
            for result in fused.score_many(["a.wav", "b.wav"]):
                print(result.utt_id, result.llr, result.verdict)

    Args:
        url: HOST:PORT of the server's gRPC endpoint, or several; see `connection.Connection`.
        fusion: of `dfeval fuse fit`; its members' names are those of models at the server.
        timeout_s: deadline of each request.
        retry: what is tried again, and for how long.
        credentials: TLS and keys, where the server or a proxy before it asks for them.
        transport: instead of gRPC to `url`; whoever gives it closes it.

    Raises:
        ModelNotFound: the server lacks a member.
        InputError: a member's card is not that of the scores that the fusion was fitted on.
        ServerError: as of `Detector`.
    """

    def __init__(
        self,
        url: str,
        fusion: Fusion,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        credentials: Credentials | None = None,
        transport: TritonCalls | None = None,
    ) -> None:
        super().__init__(
            url or DEFAULT_URL, timeout_s=timeout_s, retry=retry, credentials=credentials, transport=transport
        )
        self.fusion = fusion
        self.detectors: tuple[Detector, ...] = ()
        try:
            for member in fusion.members:
                self.detectors += (self._member(member),)
        except BaseException:
            self.close()
            raise

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Of the members, in the fusion's order."""
        return tuple(detector.card for detector in self.detectors)

    def close(self) -> None:
        """Let requests in flight end, try none again, and close the connection."""
        for detector in self.detectors:
            detector.close()
        super().close()

    def windowing(
        self, mode: str = PROTOCOL, hop_s: float | None = None, pool: str | None = None
    ) -> tuple[Windowing, ...]:
        """How each member cuts and pools recordings; the arguments are those of `Detector.windowing`.

        Raises:
            InputError: one of them can't be used, or the fusion was fitted on recordings that were cut in another way.
        """
        windowings = tuple(detector.windowing(mode, hop_s, pool) for detector in self.detectors)
        for member, windowing in zip(self.fusion.members, windowings, strict=True):
            if not member.cutting.suits(windowing.cutting):
                raise InputError(
                    f"the fusion was fitted on scores of {member.detector} with windows cut so: {member.cutting}; "
                    f"found: {windowing.cutting}; choose that with --mode, --hop and --pool, serve the model with "
                    "such windows, or fit it on such scores"
                )
        return windowings

    def score_many(
        self,
        recordings: Iterable[Recording],
        *,
        mode: str = PROTOCOL,
        hop_s: float | None = None,
        pool: str | None = None,
        channels: str | int = audio.MIX,
        track: str | int | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[FusedScore | Failed]:
        """Score recordings, in their order: a `FusedScore` or a `Failed` for each; see `Detector.score_many`."""
        windowing, options = self.windowing(mode, hop_s, pool), AudioOptions(channels, track)
        return self.score_windowed(list(recordings), windowing, options, concurrency=concurrency)

    def score_windowed(
        self,
        recordings: Sequence[Recording],
        windowing: Sequence[Windowing],
        options: AudioOptions = audio.MIXED,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[FusedScore | Failed]:
        """`score_many` with a `windowing` and choice of channels that have been checked already."""
        return self._scored(recordings, windowing, options, checked_concurrency(concurrency))

    def run_values(self, windowing: Sequence[Windowing], options: AudioOptions) -> dict[str, Any]:
        """The values of a score file's columns that are the same in every row of a run."""
        own = [run_values(card, one, options) for card, one in zip(self.cards, windowing, strict=True)]
        return {**_joint(own), **_of_fusion(self.fusion)}

    def _scored(
        self, recordings: Sequence[Recording], windowing: Sequence[Windowing], options: AudioOptions, concurrency: int
    ) -> Iterator[FusedScore | Failed]:
        rates_hz = Counter(card.sample_rate_hz for card in self.cards)
        loads = {rate_hz: _DecodedOnce(users) for rate_hz, users in rates_hz.items()}
        room = threading.BoundedSemaphore(concurrency)  # of all members together
        share = -(-concurrency // len(self.detectors))
        with ExitStack() as stack:
            streams = [
                stack.enter_context(
                    closing(
                        detector.score_windowed(
                            recordings,
                            one,
                            options,
                            concurrency=share,
                            load=loads[detector.card.sample_rate_hz],
                            room=room,
                        )
                    )
                )
                for detector, one in zip(self.detectors, windowing, strict=True)
            ]
            for results in zip(*streams, strict=True):
                failed = next((result for result in results if isinstance(result, Failed)), None)
                yield failed or FusedScore.of([one for one in results if isinstance(one, Score)], self.fusion)

    def _member(self, member: Member) -> Detector:
        try:
            calls = self._calls
            detector = Detector(self.url, member.detector, retry=calls.policy, transport=calls.calls)
        except ModelNotFound as error:
            names = ", ".join(self.fusion.detectors)
            raise ModelNotFound(f"the fusion needs all of {names} on one server: {error}") from None
        try:
            _check_is_the_one(member, detector.card)
        except InputError:
            detector.close()
            raise
        return detector


class _DecodedOnce:
    """Decodes each recording for the first member that asks for it; kept until all have had it.

    The members advance together, so what is kept is what one of them has decoded ahead of the others.
    """

    def __init__(self, users: int) -> None:
        self._users, self._lock = users, threading.Lock()
        self._kept: dict[int, tuple[Future[tuple[audio.Waveform, ...]], int]] = {}  # and how many have not had it

    def __call__(
        self, number: int, recording: Recording, rate_hz: int, options: AudioOptions
    ) -> tuple[audio.Waveform, ...]:
        """The recording's waveforms; errors as of `load_recording`."""
        with self._lock:
            future, left = self._kept.get(number, (Future(), self._users))
            is_first = number not in self._kept
            self._kept[number] = future, left - 1
            if left == 1:
                del self._kept[number]
        if is_first:
            try:
                future.set_result(load_recording(number, recording, rate_hz, options))
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def _check_is_the_one(member: Member, card: ModelCard) -> None:
    """Refuse a model whose scores are not those that the fusion was fitted on, as far as both say what they are."""
    advice = "serve that one, or fit the fusion on scores of this one"
    if card.is_random:
        raise InputError(f"model {card.model!r} has random weights: its scores mean nothing, fused or not")
    if member.weights and member.weights != card.weights:
        raise InputError(
            f"model {card.model!r}: the fusion was fitted on {member.weights} weights, found {card.weights}: {advice}"
        )
    if member.score_column:
        raise InputError(
            f"the fusion was fitted on the column {member.score_column!r} of {member.detector}'s score file, and the "
            "model answers none but its score: fit it on the column score"
        )
    theirs, ours = member.checkpoint_sha256, card.checkpoint_sha256
    if theirs and ours and theirs != ours:
        raise InputError(
            f"model {card.model!r}: the fusion was fitted on scores of the checkpoint {theirs[:12]}…, found "
            f"{ours[:12]}…: {advice}"
        )


def _of_fusion(fusion: Fusion) -> dict[str, Any]:
    return {"fusion_sha256": fusion.digest, "members": fusion.detectors, "calibration_sha256": ""}


def _joint(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What each member's row says of the run: one value where all say the same, else all, or none for a number."""
    joint: dict[str, Any] = {"model": JOINT.join(row["model"] for row in rows)}
    for name in ("version", "weights", "checkpoint_sha256", "identity", "precision", "mode", "pool"):
        values = [str(row[name]) for row in rows]
        joint[name] = values[0] if len(set(values)) == 1 else JOINT.join(values)
    for name in ("window_samples", "hop_s"):
        joint[name] = rows[0][name] if all(row[name] == rows[0][name] for row in rows) else None
    return joint | {name: rows[0][name] for name in ("channel_choice", "track")}
