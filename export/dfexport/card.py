"""The model card of a build (`dfcontract.card`); only published weights get a published result and threshold."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from dfcontract.calibration import SCORE_COLUMN, Calibration
from dfcontract.card import ModelCard, SelfCheck
from dfcontract.tensors import SAMPLE_RATE_HZ, identity_of
from dfcontract.windows import PROTOCOL, SLIDING
from dfexport.errors import ExportError
from dfexport.formats import find_format
from dfexport.precision import FP32, find_reduction
from dfexport.spec import DetectorSpec, Weights


def model_card(
    name: str,
    spec: DetectorSpec,
    *,
    weights: Weights,
    sha256: str,
    source: str,
    format: str = "onnx",
    precision: str = FP32,
    reduce_range: bool = False,
) -> ModelCard:
    """What a client should know about the scores it gets; what is known only after the build is left out.

    Args:
        name: the model's at the server.
        spec: what is built.
        weights, sha256, source: of which weights.
        format, precision, reduce_range: in what form.
    """
    reduction = find_reduction(precision, format)
    pretrained = weights == "pretrained"
    operating_point = spec.threshold if pretrained else None
    licences = {"pretrained": spec.checkpoint.licence, "random": "none: seeded weights", "custom": "yours"}
    return ModelCard(
        model=name,
        version="",
        detector=spec.name,
        sample_rate_hz=SAMPLE_RATE_HZ,
        window_samples=spec.window_samples,
        weights=weights,
        score_kind=spec.score_kind,
        preparation=spec.preparation,
        pre_emphasis=spec.pre_emphasis,
        clip=spec.clip,
        checkpoint_sha256=sha256,
        checkpoint_source=source,
        licence=licences[weights],
        paper=spec.paper,
        published_result=spec.result if pretrained else f"none for {weights} weights",
        eers=spec.eers if pretrained else (),
        transfers=spec.transfers if pretrained else (),
        trained_on=spec.trained_on if pretrained else "",
        format=format,
        precision=precision,
        precision_note=reduction.note_for(reduce_range=reduce_range) if reduction else "",
        identity=identity(spec, sha256, format, precision, reduce_range=reduce_range),
        threshold=operating_point.score if operating_point else None,
        threshold_source=operating_point.set_on if operating_point else "",
    )


def with_self_check(card: ModelCard, spec: DetectorSpec, logits: tuple[float, float]) -> ModelCard:
    """The card with what the built model answers to the waveform beside it, spoof and bona fide."""
    reduction = find_reduction(card.precision, card.format)
    return replace(card, self_check=SelfCheck(logits, reduction.self_check_tolerance if reduction else spec.tolerance))


def identity(spec: DetectorSpec, sha256: str, format: str, precision: str, *, reduce_range: bool) -> int:
    """What each answer of a model carries as IDENTITY: the same for the same inputs, whenever they are built."""
    form = find_format(format)
    parts = {
        "checkpoint": sha256,
        "family": spec.family,
        "window_samples": "{} to {}".format(*spec.clip) if spec.clip else str(spec.window_samples),
        "format": f"{form.name} {form.version}",
        "precision": precision,
        "range": "reduced" if reduce_range else "full",
        "dfserve": dfserve_version(),
    }
    return identity_of(*(f"{key}={value}" for key, value in parts.items()), bits=form.identity_bits)


def dfserve_version() -> str:
    """The installed version; "unknown" where the code runs without being installed."""
    try:
        return version("dfserve")
    except PackageNotFoundError:
        return "unknown"


def calibrated(card: ModelCard, calibration: Calibration, where: str) -> ModelCard:
    """The card with a calibration, whose threshold replaces the published one.

    Args:
        card: the card.
        calibration: what ``dfeval calibrate fit`` wrote.
        where: its file, for errors.

    Raises:
        ExportError: it was fitted on scores of other weights, on windows of another length, or on another column than
            the score.
    """
    if card.is_random:
        raise ExportError(f"{where}: random weights can't be calibrated; their scores mean nothing")
    fitted = calibration.checkpoint_sha256
    if fitted is not None and fitted != card.checkpoint_sha256:
        raise ExportError(
            f"{where} was fitted on scores of {calibration.detector} with checkpoint sha256 {fitted}, "
            f"these weights have {card.checkpoint_sha256}; score your calibration set with this model and fit again"
        )
    if column := calibration.fitted_on.get(SCORE_COLUMN):
        raise ExportError(
            f"{where} was fitted on the column {column!r} of a score file, and the model answers none but its score; "
            "fit one on the column score"
        )
    mode = PROTOCOL if calibration.cutting.words == PROTOCOL else SLIDING
    length, samples = calibration.cutting.window_samples, card.longest_samples(mode)
    if length and length != str(samples):
        raise ExportError(
            f"{where} was fitted on at most {length} samples at once, where this model scores {samples} in {mode} "
            "mode: no score of its would be calibrated; choose the window with --window, or score your calibration "
            "set with this model and fit again"
        )
    threshold = calibration.threshold
    return replace(
        card,
        calibration=calibration,
        threshold=threshold.score,
        threshold_source=f"{calibration.fitted_on['protocol']}: {threshold.rule}",
    )
