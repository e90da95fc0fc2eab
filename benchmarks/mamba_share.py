"""Time what XLSR-Mamba's back-end adds to its encoder; prints the second table of docs/selective-scan.md.

Both are exported by themselves, with seeded weights, and take turns in ONNX Runtime on two threads, so that a busy
machine slows both alike; each one's fastest turn counts. The back-end is all that follows the encoder: ten live mixers,
projections, pooling.

    python benchmarks/mamba_share.py [--rounds N]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from selective_scan import export, load, nodes_of

from dfexport.build import load_network, seeded
from dfexport.registry import find

BATCHES = (1, 8)
THREADS = 2


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns at each batch size (default: %(default)s)")
    rounds = parser.parse_args().rounds
    spec = find("xlsr_mamba")
    network = load_network(spec, seeded(spec))
    with tempfile.TemporaryDirectory() as folder:
        encoder_path, head_path = Path(folder) / "encoder.onnx", Path(folder) / "head.onnx"
        waveforms = torch.randn(max(BATCHES), spec.window_samples) * 0.1
        with torch.inference_mode():
            frames = network.encoder(waveforms[:2])
        export(network.encoder, {"x": waveforms[:2]}, encoder_path)
        export_s = export(network.head, {"x": frames}, head_path)
        nodes, file_mb = nodes_of(head_path), head_path.stat().st_size / 1e6
        del network
        encoder, _ = load(encoder_path, THREADS)
        head, load_s = load(head_path, THREADS)
        print(f"back-end: {nodes} nodes, {file_mb:.2f} MB, exported in {export_s:.1f} s, loaded in {load_s:.2f} s\n")
        print("| batch | encoder, s a clip | back-end, s a clip | share | median share of the turns |")
        print("|---|---|---|---|---|")
        for batch in BATCHES:
            feeds = {
                encoder: {"x": waveforms[:batch].numpy()},
                head: {"x": np.repeat(frames[:1].numpy(), batch, 0)},
            }
            times: dict[onnxruntime.InferenceSession, list[float]] = {encoder: [], head: []}
            for _ in range(rounds + 1):
                for session, feed in feeds.items():
                    start = time.perf_counter()
                    session.run(None, feed)
                    times[session].append((time.perf_counter() - start) / batch)
            encoder_s, head_s = (times[session][1:] for session in (encoder, head))  # the first turn warms up
            shares = sorted(100 * b / a for a, b in zip(encoder_s, head_s, strict=True))
            print(
                f"| {batch} | {min(encoder_s):.3f} | {min(head_s):.4f} "
                f"| {100 * min(head_s) / min(encoder_s):.1f} % | {shares[len(shares) // 2]:.1f} % |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
