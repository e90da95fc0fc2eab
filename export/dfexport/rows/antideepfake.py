"""AntiDeepfake's seven encoders."""

from dfcontract.published import Eer
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfcontract.windows import ClipLengths
from dfexport.rows.common import HUB, hub_file
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint

_DEEPFAKE_PAPER = "Ge et al., Post-training for Deepfake Speech Detection, arXiv 2506.21090"
_DEEPFAKE_PREPARATION = "zero mean and unit variance over all that is scored at once"
# From the convolutions' receptive field, which gives one frame, to the longest clip of the authors' training: 13 s.
_DEEPFAKE_CLIP = ClipLengths(400, 13 * SAMPLE_RATE_HZ)
_DEEPFAKE_EVAL_2024 = {
    "xlsr_2b": 27.77,
    "xlsr_1b": 26.76,
    "mms_1b": 27.70,
    "w2v_large": 33.38,
    "mms_300m": 32.80,
    "w2v_small": 33.33,
    "hubert_xlarge": 34.08,
}
# Of a window of 4 s: shares of ssl_aasist's CPU time, taken in turns, times its 0.40 s.
_SECONDS = {"w2v_small": 0.16, "mms_1b": 0.98, "xlsr_1b": 0.98}


def _antideepfake(
    name: str, family: str, hub_name: str, weights: str, *, parameters: int, in_the_wild: float
) -> DetectorSpec:
    """A size, post-trained with RawBoost; the authors' files without it are built with ``--checkpoint``."""
    repository = f"nii-yamagishilab/{hub_name}-anti-deepfake"
    return DetectorSpec(
        name=f"antideepfake_{name}",
        family=f"antideepfake:{family}",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (hub_file(repository, "model.safetensors", "main", f"antideepfake_{name}.safetensors"),),
            page=f"{HUB}/{repository}",
            licence="CC BY-NC-SA 4.0",
            size=weights,
            asks_consent=True,
        ),
        paper=_DEEPFAKE_PAPER,
        published_result="",
        parameters=parameters,
        seconds_per_window=_SECONDS.get(name),
        score_kind="softmax",
        threshold=OperatingPoint(0.5, "the more likely class, as its authors decide"),
        precisions=XLSR_PRECISIONS,
        max_batch_size=8 if parameters < 500e6 else 2,
        eers=(
            Eer("In-the-Wild, whole clips", in_the_wild),
            Eer("Deepfake-Eval-2024, whole clips", _DEEPFAKE_EVAL_2024[name]),
        ),
        trained_on="ASVspoof 2019, 2021 and 5 among others",
        preparation=_DEEPFAKE_PREPARATION,
        clip=_DEEPFAKE_CLIP,
    )


ROWS: tuple[DetectorSpec, ...] = (
    _antideepfake("w2v_small", "W2V_SMALL", "wav2vec-small", "0.38 GB", parameters=94_372_354, in_the_wild=4.24),
    _antideepfake("w2v_large", "WIDTH_1024", "wav2vec-large", "1.26 GB", parameters=315_439_618, in_the_wild=1.91),
    _antideepfake("mms_300m", "WIDTH_1024", "mms-300m", "1.26 GB", parameters=315_439_618, in_the_wild=2.90),
    _antideepfake("mms_1b", "WIDTH_1280", "mms-1b", "3.85 GB", parameters=962_498_562, in_the_wild=1.82),
    _antideepfake("xlsr_1b", "WIDTH_1280", "xls-r-1b", "3.85 GB", parameters=962_498_562, in_the_wild=1.35),
    _antideepfake("xlsr_2b", "WIDTH_1920", "xls-r-2b", "8.64 GB", parameters=2_159_261_442, in_the_wild=1.23),
    _antideepfake("hubert_xlarge", "HUBERT", "hubert-xlarge", "3.85 GB", parameters=962_494_978, in_the_wild=5.23),
)
