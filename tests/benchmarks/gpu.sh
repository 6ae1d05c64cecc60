#!/bin/sh
# Everything that needs a CUDA GPU, in one go: tests marked `gpu`, then the benchmark matrix with
# the released sizes and random weights. `sh tests/benchmarks/gpu.sh OUT_FOLDER [PYTHON]`.
# `REHEARSE=1` is for trying the script itself on a CPU, with the smallest sizes.
set -eu
out=${1:?give a folder for the results}
python=${2:-python3}
mkdir -p "$out"
cd "$(dirname "$0")/../.."
if [ -n "${REHEARSE:-}" ]; then device=cpu; more=--tiny; else device=cuda; more=; fi
if [ -z "${REHEARSE:-}" ]; then
    nvidia-smi > "$out/nvidia-smi.txt"
    "$python" -m pytest -q -m gpu tests 2>&1 | tee "$out/tests.txt"
fi
for section in machine decode prefill codec train; do
    "$python" -m tests.benchmarks.bench "$section" --device "$device" $more \
        --json "$out/$section.json" 2>&1 | tee "$out/$section.txt"
done
