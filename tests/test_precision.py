"""Tensors that stay float32 whatever the model around them does."""

import pytest
import torch
from torch import nn

from jukebox_hf.precision import Float32Module, exact_float32, torch_dtype


class Table(Float32Module):
    """One of each: parameter, float buffer, integer buffer, child."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 0.1))
        self.register_buffer("sums", torch.full((3,), 0.1))
        self.register_buffer("steps", torch.tensor(7))
        self.child = nn.Linear(2, 2)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_precisions_have_names(name: str):
    assert torch_dtype(name) is getattr(torch, name)


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="float32, float16, bfloat16, got 'fp8'"):
        torch_dtype("fp8")


@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.half(),
        lambda module: module.bfloat16(),
        lambda module: module.double(),
        lambda module: module.to(torch.float16),
        lambda module: module.to("cpu", torch.bfloat16),
    ],
)
def test_its_tensors_and_its_childrens_keep_every_bit(cast):
    table = Table()
    child_weight = table.child.weight.clone()
    outer = cast(nn.Sequential(table, nn.Linear(1, 1)))
    assert outer[1].weight.dtype != torch.float32
    assert torch.equal(table.weight, torch.full((3,), 0.1))
    assert torch.equal(table.sums, torch.full((3,), 0.1))
    assert table.weight.dtype == table.sums.dtype == torch.float32
    assert table.steps.dtype == torch.int64
    assert torch.equal(table.child.weight, child_weight)


def test_gradients_stay_float32_too():
    table = Table()
    table.weight.sum().backward()
    table.half()
    assert table.weight.grad.dtype == torch.float32


def test_moves_between_devices_still_work():
    table = Table().to("meta", torch.float16)
    assert table.weight.is_meta
    assert table.weight.dtype == torch.float32
    assert table.to_empty(device="cpu").sums.device.type == "cpu"


def test_autocast_can_be_left():
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (ones @ ones).dtype == torch.bfloat16
        with exact_float32(ones.device):
            assert (ones @ ones).dtype == torch.float32
        assert (ones @ ones).dtype == torch.bfloat16
        with exact_float32(torch.device("meta")):
            pass


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_gpus_round_no_factors_to_tf32_inside_and_do_as_before_outside(precision: str):
    """What the switches say; the arithmetic itself needs a GPU."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    torch.set_float32_matmul_precision(precision)
    try:
        before = (matmul.fp32_precision, conv.fp32_precision, torch.backends.cudnn.allow_tf32)
        with exact_float32(torch.device("cuda")):
            assert matmul.fp32_precision == conv.fp32_precision == "ieee"
        after = (matmul.fp32_precision, conv.fp32_precision, torch.backends.cudnn.allow_tf32)
        assert after == before
        assert torch.get_float32_matmul_precision() == precision
        with exact_float32(torch.device("cpu")):
            assert (matmul.fp32_precision, conv.fp32_precision) == before[:2]
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpus_compute_in_float32_inside():
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 64, 500, generator=generator)
    conv = nn.Conv1d(64, 64, 3)
    expected = conv.double()(audio.double()).float()
    with exact_float32(torch.device("cuda")):
        ours = conv.float().cuda()(audio.cuda()).cpu()
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
