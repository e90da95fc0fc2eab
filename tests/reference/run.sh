#!/bin/sh
# Compares the XLS-R encoder with fairseq's, and the Mamba layer with mamba-ssm's. Makes an environment of its own the
# first time (some minutes: fairseq is compiled; mamba-ssm's CUDA kernels are not, its reference scan needs none).
# Usage: tests/reference/run.sh [PYTHON] [ENVIRONMENT]
set -eu
python=${1:-python3.11}
environment=${2:-.venv-reference}
here=$(dirname "$0")
if [ ! -e "$environment/installed-with-mamba-ssm" ]; then
  "$python" -m venv "$environment"
  pip="$environment/bin/python -m pip install --quiet --disable-pip-version-check"
  $pip 'setuptools<81' wheel 'cython<4' ninja 'numpy>=2,<3'
  $pip ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch==2.13.0
  $pip 'transformers>=5.23,<5.24' safetensors rich
  $pip --no-deps --no-build-isolation fairseq-fixed==0.12.3.1
  $pip --no-deps hydra-core==1.3.2 omegaconf==2.3.0 antlr4-python3-runtime==4.9.3
  MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE $pip --no-deps --no-build-isolation mamba-ssm==1.2.2
  $pip einops==0.8.1
  $pip bitarray cffi regex sacrebleu scikit-learn tqdm packaging pyyaml
  touch "$environment/installed-with-mamba-ssm"
fi
export PYTHONPATH="$here/../../contract:$here/../../export"
"$environment/bin/python" "$here/compare_mamba_ssm.py"
exec "$environment/bin/python" "$here/compare_fairseq.py"
