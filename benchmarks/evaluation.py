"""How long the evaluation of 611,829 trials takes, the size of ASVspoof 2021 DF.

    python benchmarks/evaluation.py [--trials N]

Makes a protocol and a score file of that size by rule, evaluates them in this process step by step, then through the
command line, and prints a table with the peak of resident memory. The report is timed on 301 trials.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

N_TRIALS = 611_829
N_REPORT = 301
N_SPEAKERS = 93
SHARE_BONAFIDE, SHARE_EVAL = 0.037, 0.87
VOCODERS = (
    *("traditional_vocoder", "waveform_concatenation", "neural_vocoder_autoregressive"),
    *("neural_vocoder_nonautoregressive", "unknown"),
)
CODECS = ("nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a")
LIMITS_S = {"load and all figures": 3.0, "1,000 intervals of the EER": 20.0, "report of 301 clips": 15.0}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 0 when no step takes longer, and no process more memory, than its limit."""
    parser = argparse.ArgumentParser(prog="benchmarks/evaluation.py", description=__doc__)
    parser.add_argument("--trials", type=int, default=N_TRIALS, help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        scores, protocol = write_trials(Path(folder), arguments.trials)
        _in_process(scores, protocol, seconds)
        common = [sys.executable, "-m", "dfeval", "metrics", str(scores), "--protocol", str(protocol)]
        common += ["--protocol-format", "asvspoof2021-df", "--phase", "all"]
        _command("dfeval metrics, pooled, no intervals", [*common, "--bootstrap", "0", "--by"], seconds)
        _command("dfeval metrics, all of it", common, seconds)
        (small := Path(folder) / "small").mkdir()
        scores, protocol = write_trials(small, N_REPORT)
        report = [sys.executable, "-m", "dfeval", "report", str(scores), "--protocol", str(protocol)]
        report += ["--protocol-format", "asvspoof2021-df", "--phase", "all", "--out", str(small / "report")]
        _command("report of 301 clips", report, seconds)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return _show(arguments.trials, seconds, max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024)


def write_trials(folder: Path, n_trials: int, seed: int = 0) -> tuple[Path, Path]:
    """Write ``scores.csv`` and ``trial_metadata.txt`` of made-up trials in ASVspoof 2021 DF's layout."""
    rng = np.random.default_rng(seed)
    is_bonafide = rng.random(n_trials) < SHARE_BONAFIDE
    if n_trials < 10_000:
        is_bonafide[::2] = True
    values = rng.normal(np.where(is_bonafide, 2.0, -2.0), 2.0)
    speakers, codecs = rng.integers(N_SPEAKERS, size=n_trials), rng.integers(len(CODECS), size=n_trials)
    vocoders, is_eval = rng.integers(len(VOCODERS), size=n_trials), rng.random(n_trials) < SHARE_EVAL
    scores, protocol = folder / "scores.csv", folder / "trial_metadata.txt"
    with scores.open("w") as score_file, protocol.open("w") as protocol_file:
        score_file.write("utt_id,score,path,model,weights\n")
        for row in range(n_trials):
            utt_id, bonafide = f"DF_E_{2_000_000 + row}", is_bonafide[row]
            score_file.write(f"{utt_id},{values[row]:.6f},flac/{utt_id}.flac,made_up,pretrained\n")
            kind = ("-", "bonafide") if bonafide else (f"A{7 + row % 13:02d}", "spoof")
            vocoder = "bonafide" if bonafide else VOCODERS[vocoders[row]]
            protocol_file.write(
                f"LA_{speakers[row]:04d} {utt_id} {CODECS[codecs[row]]} asvspoof {kind[0]} {kind[1]} notrim "
                f"{'eval' if is_eval[row] else 'progress'} {vocoder} - - - -\n"
            )
    return scores, protocol


def _in_process(scores: Path, protocol: Path, seconds: dict[str, float]) -> None:
    with _timed("load and all figures", seconds):
        from dfeval.evaluation import Settings, evaluate
        from dfeval.protocols import load_protocol
        from dfeval.scores import load_scores
        from dfeval.trials import join

        with _timed("  load the scores", seconds):
            score_file = load_scores(scores)
        with _timed("  load the protocol", seconds):
            loaded = load_protocol(protocol, "asvspoof2021-df", "all")
        with _timed("  join", seconds):
            trials = join(score_file, loaded)
        with _timed("  pooled figures", seconds):
            evaluation = evaluate(trials, Settings(by=(), n_replicates=0))
    from dfeval.metrics.bootstrap import bootstrap

    with _timed("1,000 intervals of the EER", seconds):
        bootstrap(evaluation.rates, None, 1000)


def _command(name: str, command: list[str], seconds: dict[str, float]) -> None:
    with _timed(name, seconds):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    seconds[name] = 0.0  # keeps the order in which the steps began
    yield
    seconds[name] = time.perf_counter() - start


def _show(n_trials: int, seconds: dict[str, float], peak_bytes: int) -> int:
    table = Table(title=f"{n_trials:,} trials", title_justify="left", box=None, pad_edge=False)
    for name, side in (("step", "left"), ("seconds", "right"), ("limit", "right")):
        table.add_column(name, justify="left" if side == "left" else "right")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.2f}", f"{LIMITS_S[name]:.0f}" if name in LIMITS_S else "")
    table.add_row("peak memory, MB", f"{peak_bytes / 1e6:.0f}", "1000")
    Console().print(table)
    kept = all(seconds[name] <= limit for name, limit in LIMITS_S.items()) and peak_bytes < 1e9
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
