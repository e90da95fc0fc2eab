"""Our Mamba layer against mamba-ssm's own mixer and reference scan, on random sizes; run as ``run.sh`` says.

mamba-ssm's module is run as it is, on a path that needs no CUDA: its compiled scan is absent here, and in its place the
module calls the package's own ``selective_scan_ref``. The norm before the mixer is torch's ``RMSNorm``.
"""

import argparse
import importlib.util
import sys
import types

import numpy as np
import torch
from torch import nn

TOLERANCE = 1e-5
XLSR_MAMBA = {"columns": 2, "steps": 208, "d_model": 144}


def reference_mixer():
    """The class of mamba-ssm's mixer; only what a mixer needs of the package is loaded."""
    package = importlib.util.find_spec("mamba_ssm")
    # The package's own first lines load a language model, and transformers with it.
    sys.modules["mamba_ssm"] = types.ModuleType("mamba_ssm")
    sys.modules["mamba_ssm"].__path__ = list(package.submodule_search_locations)
    sys.modules["selective_scan_cuda"] = types.ModuleType("selective_scan_cuda")
    from mamba_ssm.modules import mamba_simple
    from mamba_ssm.ops.selective_scan_interface import selective_scan_ref

    mamba_simple.selective_scan_fn = selective_scan_ref
    return mamba_simple.Mamba


def compare(mixer_class, columns, batch, steps, d_model, seed):
    """Largest difference of any column's output, as a share of the largest output."""
    from dfexport.layers.mamba import RMS_NORM_EPS, MambaBlock, MambaLayer

    torch.manual_seed(seed)
    references, blocks = [], []
    for _ in range(columns):
        mixer = mixer_class(d_model, use_fast_path=False)
        norm = nn.RMSNorm(d_model, eps=RMS_NORM_EPS)
        for parameter in (*mixer.parameters(), *norm.parameters()):  # norms and D start at 1, which would prove nothing
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        references.append(nn.Sequential(norm, mixer))
        block = MambaBlock(d_model)
        block.mixer.load_state_dict(mixer.state_dict(), strict=True)
        block.norm.load_state_dict(norm.state_dict(), strict=True)
        blocks.append(block)
    x = torch.randn(columns, batch, steps, d_model)
    with torch.inference_mode():
        expected = torch.stack([reference(column) for reference, column in zip(references, x, strict=True)])
        found = MambaLayer(blocks)(x)
    return float((expected - found).abs().max() / expected.abs().max())


def main():
    """Compare ``--sizes`` random sizes, the first of them XLSR-Mamba's; 1 when any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, default=12)
    sizes = parser.parse_args().sizes
    mixer_class = reference_mixer()
    random = np.random.RandomState(0)
    worst = 0.0
    for seed in range(sizes):
        size = {
            "columns": int(random.randint(1, 4)),
            "batch": int(random.randint(1, 4)),
            "steps": int(random.randint(1, 260)),
            "d_model": int(random.randint(2, 160)),
        }
        if seed == 0:
            size |= XLSR_MAMBA
        difference = compare(mixer_class, **size, seed=seed)
        worst = max(worst, difference)
        print(f"{difference:.1e}  {size}", flush=True)
    print(f"worst difference {worst:.1e}, tolerance {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
