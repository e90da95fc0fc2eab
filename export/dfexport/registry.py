"""The detectors that can be built: a row is an architecture × a published checkpoint × a window.

The tables of the README and of docs/detectors.md are made from these rows.
"""

from dataclasses import replace

from dfcontract.published import NOT_DISCLOSED, Eer, Transfer
from dfexport.errors import unknown
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint, RemoteFile

ARENA = "Speech Anti-Spoofing Arena, huggingface.co/SpeechAntiSpoofingBenchmarks"
_MEASURED, _CORPUS = "measured for dfserve", "301 clips of 16 other systems"
_2019_LA = "ASVspoof 2019 LA"
_ASVSPOOF_2019_LA = f"{_2019_LA}, its training part"


def _eers(sets: tuple[str, ...], percents: tuple[float, ...]) -> tuple[Eer, ...]:
    return tuple(Eer(data, percent) for data, percent in zip(sets, percents, strict=True))


def _arena(*figures: tuple[str, float], trained_on: tuple[str, ...] = (_2019_LA,)) -> tuple[Eer, ...]:
    """Its figures for 2021 pool all phases, and can't be compared with those of the ``eval`` part."""
    return tuple(Eer(data, percent, ARENA, data in trained_on) for data, percent in figures)


_AASIST_PAGE = "https://github.com/clovaai/aasist"
_AASIST_WEIGHTS = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
_AASIST_MIRROR = "https://cdn.jsdelivr.net/gh/clovaai/aasist@main/models/weights"  # a CDN of public GitHub repositories
_AASIST_PAPER = (
    "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, "
    "ICASSP 2022, arXiv 2110.01200"
)


def _aasist_checkpoint(name: str, sha256: str, size: str, *mirrors: str) -> Checkpoint:
    remote = RemoteFile(name, f"{_AASIST_WEIGHTS}/{name}", sha256, mirrors=(f"{_AASIST_MIRROR}/{name}", *mirrors))
    return Checkpoint((remote,), page=_AASIST_PAGE, licence="MIT (NAVER Corp.)", size=size)


_SSL_PAGE = "https://github.com/TakHemlata/SSL_Anti-spoofing"
_SSL_PAPER = (
    "Tak et al., Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data "
    "augmentation, Odyssey 2022, arXiv 2202.12233"
)
_SLS_PAGE = "https://github.com/QiShanZhang/SLSforASVspoof-2021-DF"


def _drive(file_id: str) -> str:
    return f"https://drive.google.com/uc?export=download&id={file_id}"


_MAMBA_PAPER = (
    "Xiao and Das, XLSR-Mamba: A Dual-Column Bidirectional State Space Model for Spoofing Attack Detection, "
    "IEEE Signal Processing Letters 2025, arXiv 2411.10027"
)


def _mamba_checkpoint(track: str) -> Checkpoint:
    """The average of the track's five checkpoints, as the hub has it; its own name there is ``model.safetensors``."""
    page = f"https://huggingface.co/AustinXiao/XLSR-Mamba-{track}"
    remote = RemoteFile(f"XLSR-Mamba-{track}.safetensors", f"{page}/resolve/main/model.safetensors")
    return Checkpoint((remote,), page=page, licence="MIT", size="1.27 GB")


_TCM_PAPER = (
    "Truong et al., Temporal-Channel Modeling in Multi-head Self-Attention for Synthetic Speech Detection, "
    "Interspeech 2024, arXiv 2406.17376"
)
_TCM_PAGE = "https://github.com/ductuantruong/tcm_add"
_TCM_LICENCE = "none stated for the weights by their authors (the code is MIT): yours to fetch and to judge"

_NES2NET_PAPER = (
    "Liu et al., Nes2Net: A Lightweight Nested Architecture for Foundation Model Driven Speech Anti-spoofing, "
    "IEEE Transactions on Information Forensics and Security 2025, arXiv 2504.05657"
)
_NES2NET_PAGE = "https://github.com/Liu-Tianchi/Nes2Net_ASVspoof_ITW"
_NES2NET_LICENCE = "none stated by its authors: yours to fetch and to judge"

_HUB = "https://huggingface.co"


def _hub_file(repository: str, file: str, revision: str, name: str, size_bytes: int | None = None) -> RemoteFile:
    """A file of the hub under a name of its own here, since most are called ``model.safetensors`` there."""
    return RemoteFile(name, f"{_HUB}/{repository}/resolve/{revision}/{file}", size_bytes=size_bytes)


_SPECTRA_PREPARATION = (
    "pre-emphasis y[t] = x[t] - 0.97 x[t-1], of each window by itself. A clip shorter than the window is repeated so "
    "that each copy answers as its authors' pre-emphasised clip does; a window that begins inside a recording begins "
    "with x[0], theirs with x[0] - 0.97 x[-1]"
)


def _tcm_add(name: str, file: str, *eers: Eer, threshold: OperatingPoint | None = None) -> DetectorSpec:
    """A checkpoint of TCM-ADD; the first figure is the one that its authors publish.

    The files lie in a OneDrive folder, linked from the page, and have no address of their own.
    """
    return DetectorSpec(
        name=name,
        family="tcm_add:TCM_ADD",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=Checkpoint((RemoteFile(file, None),), page=_TCM_PAGE, licence=_TCM_LICENCE, size="1.28 GB"),
        paper=_TCM_PAPER,
        published_result=f"{eers[0].data}: EER {eers[0].percent:.2f} %",
        parameters=319_260_196,
        threshold=threshold,
        precisions=XLSR_PRECISIONS,
        eers=eers,
        trained_on=_ASVSPOOF_2019_LA,
    )


def _spectra(name: str, file: RemoteFile, repository: str, size: str) -> DetectorSpec:
    """What the three have in common; they differ in their heads and figures."""
    return DetectorSpec(
        name=name,
        family=f"spectra:{name.upper()}",
        window_samples=64_600,
        checkpoint=Checkpoint((file,), page=f"{_HUB}/{repository}", licence="Apache-2.0", size=size),
        paper=f"lab260, {repository} on the Hugging Face hub (no paper)",
        published_result="",
        parameters=0,
        precisions=XLSR_PRECISIONS,
        trained_on=NOT_DISCLOSED,
        preparation=_SPECTRA_PREPARATION,
        pre_emphasis=0.97,
    )


_SPECTRA_SETS = ("ASVspoof 2019 LA", "ASVspoof 2021 LA", "ASVspoof 2021 DF", "ASVspoof 5", "In-the-Wild")
_CARD = "its authors' model card; the data is not named"


_ARENA_LICENCE = "non-commercial research use alone (commercial by request to its authors)"
_DF_ARENA_PAPER = (
    "Kulkarni et al., Do Compact SSL Backbones Matter for Audio Deepfake Detection? A Controlled Study with RAPTOR, "
    "arXiv 2603.06164"
)
_DF_ARENA_SETS = ("In-the-Wild", "ASVspoof 2021 DF", "ASVspoof 2021 LA")
_DF_ARENA_TRAINED_ON = "ASVspoof 2019 and 5, Codecfake, LibriSeVoc, DFADD, CtrSVDD, SpoofCeleb, MLAAD, EnvSDD"


def _df_arena(size: str, parameters: int, weights: str, revision: str) -> DetectorSpec:
    """What both sizes have in common."""
    repository = f"Speech-Arena-2025/DF_Arena_{size}_V_1"
    name = f"df_arena_{size.lower()}"
    return DetectorSpec(
        name=name,
        family=f"df_arena:DF_ARENA_{size}",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (_hub_file(repository, "pytorch_model.bin", revision, f"{name}.bin"),),
            page=f"{_HUB}/{repository}",
            licence=_ARENA_LICENCE,
            size=weights,
            asks_consent=True,
        ),
        paper=_DF_ARENA_PAPER,
        published_result="",
        parameters=parameters,
        score_kind="softmax",
        threshold=OperatingPoint(0.5, "the more likely class, as its authors decide"),
        precisions=XLSR_PRECISIONS,
        # All hidden states of a batch are held until the head has weighed them.
        max_batch_size=8,
        trained_on=_DF_ARENA_TRAINED_ON,
    )


_DEEPFAKE_PAPER = "Ge et al., Post-training for Deepfake Speech Detection, arXiv 2506.21090"
_DEEPFAKE_PREPARATION = (
    "zero mean and unit variance over the window. Its authors normalise and score a whole clip, however long, where "
    "this takes one window of it: their figures are not of this"
)


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
            (_hub_file(repository, "model.safetensors", "main", f"antideepfake_{name}.safetensors"),),
            page=f"{_HUB}/{repository}",
            licence="CC BY-NC-SA 4.0",
            size=weights,
            asks_consent=True,
        ),
        paper=_DEEPFAKE_PAPER,
        published_result="",
        parameters=parameters,
        score_kind="softmax",
        threshold=OperatingPoint(0.5, "the more likely class, as its authors decide"),
        precisions=XLSR_PRECISIONS,
        max_batch_size=32 if parameters < 500e6 else 8,
        eers=(
            Eer("In-the-Wild, whole clips", in_the_wild),
            Eer("Deepfake-Eval-2024, whole clips", _DEEPFAKE_EVAL_2024[name]),
        ),
        trained_on="ASVspoof 2019, 2021 and 5 among others",
        preparation=_DEEPFAKE_PREPARATION,
    )


_DEEPFAKE_EVAL_2024 = {
    "xlsr_2b": 27.77,
    "xlsr_1b": 26.76,
    "mms_1b": 27.70,
    "w2v_large": 33.38,
    "mms_300m": 32.80,
    "w2v_small": 33.33,
    "hubert_xlarge": 34.08,
}


_ROWS = (
    DetectorSpec(
        name="aasist",
        family="aasist:FULL",
        window_samples=64_600,
        max_batch_size=8,
        checkpoint=_aasist_checkpoint(
            "AASIST.pth",
            "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
            "1.3 MB",
            "https://huggingface.co/SpeechAntiSpoofingBenchmarks/AASIST/resolve/main/AASIST.pth",
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.83 %, min t-DCF 0.0275",
        parameters=297_866,
        seconds_per_window=0.079,
        threshold=OperatingPoint(1.4938, "ASVspoof 2019 LA eval, at its EER"),
        eers=(
            Eer("ASVspoof 2019 LA eval", 0.83, trained_on=True),
            *_arena(("ASVspoof 2021 LA, all phases", 12.35), ("ASVspoof 2021 DF, all phases", 17.04)),
            *_arena(("In-the-Wild", 43.01), ("SONAR", 57.61), ("CD-ADD", 51.05), ("ODSS", 50.41)),
            *_arena(("LibriSeVoc", 37.98), ("HABLA", 37.36), ("DECRO", 29.74)),
            Eer(_CORPUS, 34.6, _MEASURED),
        ),
        transfers=(Transfer("ASVspoof 2019 LA eval", _CORPUS, 58.5, 18.1, 34.6, _MEASURED),),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="aasist_l",
        family="aasist:LIGHT",
        window_samples=64_600,
        max_batch_size=8,
        checkpoint=_aasist_checkpoint(
            "AASIST-L.pth", "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a", "0.4 MB"
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.99 %, min t-DCF 0.0309",
        parameters=85_306,
        seconds_per_window=0.064,
        eers=(
            Eer("ASVspoof 2019 LA eval", 0.99, trained_on=True),
            *_arena(("ASVspoof 2021 LA, all phases", 13.15), ("ASVspoof 2021 DF, all phases", 15.96)),
            *_arena(("In-the-Wild", 44.45), ("ASVspoof 5", 37.53), ("CD-ADD", 50.72), ("DeepVoice", 49.68)),
            *_arena(("ODSS", 47.14), ("HABLA", 34.84)),
            Eer(_CORPUS, 35.5, _MEASURED),
        ),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="ssl_aasist",
        family="ssl_aasist:SSL_AASIST",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("Best_LA_model_for_DF.pth", _drive("1JHBClArVdM-Cr1b8In1iakTV_TvC3HvG")),),
            page=_SSL_PAGE,
            licence="MIT",
            size="1.27 GB",
        ),
        paper=_SSL_PAPER,
        published_result="ASVspoof 2021 DF eval: EER 2.85 %",
        parameters=315_884_810,
        seconds_per_window=0.40,
        threshold=OperatingPoint(-3.5327, "ASVspoof 2021 DF eval, at its EER"),
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 DF eval", 2.85),),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="ssl_aasist_la",
        family="ssl_aasist:SSL_AASIST",
        window_samples=64_600,
        # The page links a Drive folder; no address of the file itself is known.
        checkpoint=Checkpoint((RemoteFile("LA_model.pth", None),), page=_SSL_PAGE, licence="MIT", size="1.27 GB"),
        paper=_SSL_PAPER,
        published_result="ASVspoof 2021 LA eval: EER 0.82 %",
        parameters=315_884_810,
        seconds_per_window=0.40,
        precisions=XLSR_PRECISIONS,
        # The arena does not say which of the authors' files it scored; it is probably this one.
        eers=(
            Eer("ASVspoof 2021 LA eval", 0.82),
            *_arena(("ASVspoof 2019 LA", 0.22), ("ASVspoof 2021 LA, all phases", 8.11)),
            *_arena(("ASVspoof 2021 DF, all phases", 8.32), ("In-the-Wild", 11.22), ("ASVspoof 5", 16.25)),
            *_arena(("SONAR", 46.12), ("CD-ADD", 38.57), ("CFAD", 17.28), ("LibriSeVoc", 11.21)),
        ),
        transfers=(
            Transfer(
                _2019_LA, "In-the-Wild", 78.7, None, 11.2, "arXiv 2606.21584, of an SSL-AASIST, probably these weights"
            ),
        ),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="sls",
        family="sls:SLS",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("asvdf_sls_best.pth", _drive("1gfyrxFihJevsqVIOO-YS0WY55CuWS_xJ")),),
            page=_SLS_PAGE,
            licence="none stated by its authors: yours to fetch and to judge",
            size="1.36 GB",
        ),
        paper=(
            "Zhang, Wen and Hu, Audio Deepfake Detection with Self-Supervised XLS-R and SLS Classifier, "
            "ACM Multimedia 2024"
        ),
        published_result="ASVspoof 2021 DF: EER 1.92 %, 2021 LA: 2.87 %, In-the-Wild: 7.46 %",
        parameters=338_836_997,
        seconds_per_window=0.40,
        score_kind="log_softmax",
        precisions=XLSR_PRECISIONS,
        eers=(
            *_eers(("ASVspoof 2021 DF eval", "ASVspoof 2021 LA eval", "In-the-Wild"), (1.92, 2.87, 7.46)),
            *_arena(("ASVspoof 2019 LA", 0.23), ("ASVspoof 2021 LA, all phases", 7.39)),
            *_arena(("ASVspoof 2021 DF, all phases", 3.93), ("XMAD", 15.27), ("CD-ADD", 9.81)),
        ),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="xlsr_mamba",
        family="xlsr_mamba:XLSR_MAMBA",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=_mamba_checkpoint("DF"),
        paper=_MAMBA_PAPER,
        published_result="ASVspoof 2021 DF eval: EER 1.88 %; In-the-Wild, at 64,600 samples: 6.71 %",
        parameters=317_083_350,
        seconds_per_window=0.42,
        precisions=XLSR_PRECISIONS,
        eers=(
            *_eers(("ASVspoof 2021 DF eval", "In-the-Wild"), (1.88, 6.71)),
            *_arena(("ASVspoof 2019 LA", 0.17), ("ASVspoof 2021 LA, all phases", 7.43)),
            *_arena(("DeepVoice", 28.82), ("CFAD", 16.86), ("DECRO", 15.17), ("DFADD", 10.70), ("HABLA", 2.58)),
        ),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="xlsr_mamba_la",
        family="xlsr_mamba:XLSR_MAMBA",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=_mamba_checkpoint("LA"),
        paper=_MAMBA_PAPER,
        published_result="ASVspoof 2021 LA eval: EER 0.93 %",
        parameters=317_083_350,
        seconds_per_window=0.42,
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 LA eval", 0.93),),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    _tcm_add(
        "tcm_add",
        "tcm_add_df_avg_5_best_4.pth",
        Eer("ASVspoof 2021 DF eval", 2.06),
        Eer("In-the-Wild", 7.79, "Nes2Net, arXiv 2504.05657"),
        threshold=OperatingPoint(-3.73, "ASVspoof 2021 DF eval, as its authors state"),
    ),
    _tcm_add("tcm_add_la", "tcm_add_la_avg_5_best_4.pth", Eer("ASVspoof 2021 LA eval", 1.03)),
    replace(
        _spectra(
            "spectra_0",
            # Its revision is not known here, so that the digest of what came is all that says what it was.
            _hub_file("lab260/spectra_0", "model.safetensors", "main", "spectra_0.safetensors"),
            "lab260/spectra_0",
            "1.27 GB",
        ),
        parameters=318_332_098,
        threshold=OperatingPoint(-1.0625009, _CARD),
        eers=_eers(_SPECTRA_SETS, (0.181, 6.475, 5.410, 14.426, 1.026)),
    ),
    replace(
        _spectra(
            "spectra_aasist",
            _hub_file(
                "lab260/Spectra-AASIST",
                "model.safetensors",
                "eb65c2662d9e646d72557b3f4bdd08b000068c7f",
                "spectra_aasist.safetensors",
                1_264_151_840,
            ),
            "lab260/Spectra-AASIST",
            "1.26 GB",
        ),
        parameters=316_012_046,
        threshold=OperatingPoint(-1.140625, _CARD),
        eers=_eers(_SPECTRA_SETS, (0.159, 5.164, 2.568, 14.056, 1.461)),
    ),
    replace(
        _spectra(
            "spectra_aasist3",
            _hub_file(
                "lab260/Spectra-AASIST3",
                "model.safetensors",
                "bc0ded888080ddad493177bb53aa6f5b95219d7c",
                "spectra_aasist3.safetensors",
                1_276_330_956,
            ),
            "lab260/Spectra-AASIST3",
            "1.28 GB",
        ),
        parameters=318_948_755,
        threshold=OperatingPoint(-1.460938, _CARD),
        # The splines at each pair of nodes: some 30 MB a clip, several times at once.
        max_batch_size=8,
        eers=(
            *_eers(_SPECTRA_SETS, (0.723, 4.506, 1.998, 13.82, 0.961)),
            *_arena(("ASVspoof 2019 LA", 0.97), ("ASVspoof 2021 LA, all phases", 4.38), trained_on=()),
            *_arena(("ASVspoof 2021 DF, all phases", 4.30), ("In-the-Wild", 1.20)),
        ),
    ),
    replace(
        _df_arena("500M", 436_190_725, "1.74 GB", "main"),
        eers=(
            *_eers(_DF_ARENA_SETS, (1.76, 3.30, 4.23)),
            Eer("ASVspoof 2019 LA", 1.09, trained_on=True),
            Eer("ASVspoof 5", 12.39, trained_on=True),
            Eer("14 sets pooled, those of its training among them", 10.88, trained_on=True),
        ),
    ),
    replace(
        _df_arena("1B", 1_147_843_845, "4.59 GB", "fb6ce85de12c2c5a509d89114adaf827dd75f49f"),
        eers=(
            *_eers(_DF_ARENA_SETS, (0.91, 1.75, 4.66)),
            Eer("ASVspoof 2019 LA", 1.14, trained_on=True),
            Eer("ASVspoof 5", 17.25, trained_on=True),
            Eer("14 sets pooled, those of its training among them", 9.52, trained_on=True),
        ),
    ),
    DetectorSpec(
        name="nes2net_x",
        family="nes2net_x:NES2NET_X",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("nes2net_x_df_avg_5.pth", _drive("1JFGv_2TONMnTLGbiOIuHFfMvuo4SIIpg")),),
            page=_NES2NET_PAGE,
            licence=_NES2NET_LICENCE,
            size="1.26 GB",
        ),
        paper=_NES2NET_PAPER,
        published_result="",
        parameters=315_949_607,
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 DF eval", 1.49),),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    DetectorSpec(
        name="nes2net_x_itw",
        family="nes2net_x:NES2NET_X",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("nes2net_x_itw_avg_5.pth", _drive("14YD8A54HLkXzlp7PWZ5iTW56WmQTIeEy")),),
            page=_NES2NET_PAGE,
            licence=_NES2NET_LICENCE,
            size="1.26 GB",
        ),
        paper=_NES2NET_PAPER,
        published_result="",
        parameters=315_949_607,
        precisions=XLSR_PRECISIONS,
        eers=(
            Eer("In-the-Wild, whole clips", 5.15),
            Eer("In-the-Wild, at 64,600 samples, its sibling of 5.52 % on whole clips", 8.48, "third party"),
        ),
        trained_on=_ASVSPOOF_2019_LA,
    ),
    _antideepfake("w2v_small", "W2V_SMALL", "wav2vec-small", "0.38 GB", parameters=94_372_354, in_the_wild=4.24),
    _antideepfake("w2v_large", "WIDTH_1024", "wav2vec-large", "1.26 GB", parameters=315_439_618, in_the_wild=1.91),
    _antideepfake("mms_300m", "WIDTH_1024", "mms-300m", "1.26 GB", parameters=315_439_618, in_the_wild=2.90),
    _antideepfake("mms_1b", "WIDTH_1280", "mms-1b", "3.85 GB", parameters=962_498_562, in_the_wild=1.82),
    _antideepfake("xlsr_1b", "WIDTH_1280", "xls-r-1b", "3.85 GB", parameters=962_498_562, in_the_wild=1.35),
    _antideepfake("xlsr_2b", "WIDTH_1920", "xls-r-2b", "8.64 GB", parameters=2_159_261_442, in_the_wild=1.23),
    _antideepfake("hubert_xlarge", "HUBERT", "hubert-xlarge", "3.85 GB", parameters=962_494_978, in_the_wild=5.23),
)

DETECTORS: dict[str, DetectorSpec] = {row.name: row for row in _ROWS}


def find(name: str) -> DetectorSpec:
    """Look a detector up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return DETECTORS[name]
