"""A calibration that ``dfeval calibrate`` fitted, put into the model card so that every client reports by it.

Its JSON is described in docs/evaluation.md. Whether it belongs to these weights is checked here; what it says is the
client's to read.
"""

import json
from pathlib import Path
from typing import Any

from dfexport.checkpoints import LoadedWeights
from dfexport.errors import ExportError

SCHEMA = "dfserve-calibration-1"


def card_entries(path: Path, weights: LoadedWeights) -> dict[str, str]:
    """``calibration``, and the operating ``threshold`` that replaces the published one.

    Raises:
        ExportError: not a calibration, or one of other weights.
    """
    content = _read(path)
    if weights.kind == "random":
        raise ExportError(f"{path}: random weights can't be calibrated; their scores mean nothing")
    fitted = content["checkpoint_sha256"]
    if fitted is not None and fitted != weights.sha256:
        raise ExportError(
            f"{path} was fitted on scores of {content['detector']} with checkpoint sha256 {fitted}, "
            f"these weights have {weights.sha256}; score your calibration set with this model and fit again"
        )
    threshold = content["threshold"]
    return {
        "calibration": json.dumps(content, sort_keys=True, separators=(",", ":")),
        "threshold": f"{threshold['score']:.9g}",
        "threshold_source": f"{content['fitted_on']['protocol']}: {threshold['rule']}",
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        usable = content["schema"] == SCHEMA and all(
            key in content for key in ("checkpoint_sha256", "detector", "threshold", "fitted_on")
        )
    except OSError as error:
        raise ExportError(f"{path}: cannot read it: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise ExportError(f"{path} is not a calibration; expected what dfeval calibrate writes ({SCHEMA})")
    return content
