#!/bin/bash
# torch 2.13.0 on an x86 CPU, `torch.ops.quantized.linear_dynamic_fp16`, 2026-12-01.
#
# Nothing dynamic happens, and only the weights are float16: inputs are not rounded, may be far beyond
# float16's range, and products are summed in float32. With weights that float16 holds the result is
# float32's to six digits. Weights beyond the range become its largest number, 65504, not infinity:
# `linear_prepack_fp16` writes that number into the tensor that it is given, too.
#
# A guess misses it: its sibling `linear_dynamic` rounds inputs to 8 bits, half precision elsewhere in
# torch (`.half()`, autocast) rounds inputs and overflows to infinity, and the documentation says
# "dynamic quantized Linear". Who keeps checkpoints in float16 and widens them to be exact on a CPU reads
# twice the bytes for the same numbers; who relies on infinity to notice weights that do not fit gets
# finite wrong numbers and a warning, and who packs a copy to compare it with the model has changed the
# model.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch

torch.manual_seed(0)
operators = torch.ops.quantized
weights = torch.randn(320, 960).half().float()
bias = torch.randn(320)
packed = operators.linear_prepack_fp16(weights, bias)
same = True
for size in (1.0, 1e6):
    inputs = size * torch.randn(8, 960)
    exact = torch.nn.functional.linear(inputs.double(), weights.double(), bias.double())
    found = operators.linear_dynamic_fp16(inputs, packed)
    rounded = torch.nn.functional.linear(inputs.half(), weights.half(), bias.half())
    error = float((found - exact).norm() / exact.norm())
    half_error = float((rounded.double() - exact).norm() / exact.norm())
    print(f"inputs of about {size:g}: error {error:.1e}; everything in float16: {half_error:.1e}")
    same &= error < 2e-6
large = torch.tensor([[70000.0]])
as_float16 = float(large.half())
packed = operators.linear_prepack_fp16(large, None)
found = float(operators.linear_dynamic_fp16(torch.ones(1, 1), packed))
print(f"a weight of 70000 times 1: {found:.0f}; as float16: {as_float16}")
print(f"the tensor that was packed holds {float(large):.0f} now")
same &= found == 65504.0 == float(large) and as_float16 == float("inf")
print("as described" if same else "CHANGED")
sys.exit(not same)
PYTHON
