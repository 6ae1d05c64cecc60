"""Alignments: put together as the original does, kept on disk, and equal to the original's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jukebox_hf.generation.alignment import (
    LyricAlignment,
    WindowAttention,
    align_lyrics,
    assemble_alignment,
    load_alignment,
    save_alignment,
)
from jukebox_hf.generation.windows import window_stride
from jukebox_hf.hub import System
from jukebox_hf.labels import ResolvedLabels
from tests.generation.golden_systems import converted_release, names_of_run
from tests.golden_data import golden_stems, load_golden, load_json


def window(start: int, value: float, lyric_indices: list[int], length: int = 4) -> WindowAttention:
    """A window whose every weight is `value` plus a hundredth of its column."""
    columns = torch.arange(len(lyric_indices)) / 100
    return WindowAttention(
        start, value + columns.expand(length, -1), torch.tensor(lyric_indices, dtype=torch.int64)
    )


def test_earlier_windows_win_but_only_in_the_columns_they_see() -> None:
    whole = assemble_alignment([window(0, 1, [0, 1]), window(2, 2, [1, 2])], 6, 4)
    expected = torch.tensor(
        [
            [1.00, 1.01, 0.00, 0],
            [1.00, 1.01, 0.00, 0],
            [1.00, 1.01, 2.01, 0],
            [1.00, 1.01, 2.01, 0],
            [0.00, 2.00, 2.01, 0],
            [0.00, 2.00, 2.01, 0],
        ]
    )
    assert torch.equal(whole, expected)


def test_the_order_of_windows_does_not_matter() -> None:
    windows = [window(start, start + 1, [start, start + 1]) for start in range(4)]
    expected = assemble_alignment(windows, 7, 5)
    assert torch.equal(assemble_alignment(iter(windows[::-1]), 7, 5), expected)


def test_lyric_padding_and_padded_codes_are_dropped() -> None:
    whole = assemble_alignment([window(0, 1, [-1, -1, 0, 1])], 3, 2)
    assert whole.shape == (3, 2)
    torch.testing.assert_close(whole, torch.tensor([[1.02, 1.03]]).expand(3, 2))


def test_against_a_loop_over_every_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    windows = []
    for start in (0, 3, 6, 7):
        first = start
        indices = torch.arange(first, first + 5)
        indices[indices > 9] = -1
        windows.append(WindowAttention(start, torch.rand(4, 5, generator=generator), indices))
    whole = assemble_alignment(windows, 11, 10)
    for row in range(11):
        for column in range(10):
            values = [
                float(one.attention[row - one.start, place])
                for one in windows
                if one.start <= row < one.start + 4
                for place in range(5)
                if one.lyric_indices[place] == column
            ]
            assert float(whole[row, column]) == (values[0] if values else 0.0)


def test_columns_belong_to_the_character_before() -> None:
    weights = torch.tensor([[0.1, 0.2, 0.3]])
    alignment = LyricAlignment(weights, "abc", 0.5)
    torch.testing.assert_close(alignment.character_weights(), torch.tensor([[0.2, 0.3, 0.0]]))
    assert alignment.duration_seconds == 0.5


@pytest.mark.parametrize("shape", [(3, 2), (3,), (3, 4)])
def test_weights_must_fit_the_lyrics(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(codes, 3 characters\)"):
        LyricAlignment(torch.zeros(shape), "abc", 0.1)
    with pytest.raises(ValueError, match="greater than 0"):
        LyricAlignment(torch.zeros(1, 3), "abc", float("nan"))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    weights = torch.zeros(50, 9)
    weights[:, 3:7] = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    alignment = LyricAlignment(weights, "ab\ncd é\x00f", 128 / 44100)
    save_alignment(tmp_path / "x.npz", alignment)
    loaded = load_alignment(tmp_path / "x.npz")
    torch.testing.assert_close(loaded.weights, weights, rtol=1e-3, atol=1e-6)
    assert (loaded.lyrics, loaded.code_seconds) == (alignment.lyrics, alignment.code_seconds)
    save_alignment(tmp_path / "x.npz", LyricAlignment(torch.zeros(2, 3), "abc", 1.0))
    assert torch.equal(load_alignment(tmp_path / "x.npz").weights, torch.zeros(2, 3))


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError, match="there is no alignment file"):
        load_alignment(path)
    save_alignment(path, LyricAlignment(torch.ones(20, 3), "abc", 1.0))
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not an alignment that can be read"):
            load_alignment(path)
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(ValueError, match="is not an alignment that can be read"):
        load_alignment(path)
    np.savez(path, format_version=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is not an alignment that can be read"):
        load_alignment(path)
    for version in (2, 10**6):
        np.savez(path, format_version=version)
        with pytest.raises(ValueError, match=f"has format version {version}, but .* upgrade"):
            load_alignment(path)
    for nonsense in (0, -1, 1.0, True, "1", [1, 1]):
        np.savez(path, format_version=nonsense)
        with pytest.raises(ValueError, match="expected format_version 1, found"):
            load_alignment(path)


def test_impossible_alignments_are_refused_before_any_work() -> None:
    labels = ResolvedLabels(0, (), "", "")
    prior: Any = SimpleNamespace(config=SimpleNamespace(alignment_head=None))
    arguments: dict[str, Any] = {"total_samples": 1, "offset_samples": 0, "stride": 1}
    with pytest.raises(
        ValueError, match="cannot align lyrics: its config names no alignment_layer"
    ):
        align_lyrics(prior, None, torch.zeros(4), labels, **arguments)  # type: ignore[arg-type]
    prior.config.alignment_head = 0
    with pytest.raises(ValueError, match="no lyrics to align"):
        align_lyrics(prior, None, torch.zeros(4), labels, **arguments)  # type: ignore[arg-type]


# --- against the original -----------------------------------------------------------------------


def runs_with_alignment() -> list[str]:
    stems = golden_stems("sampling/*")
    return [stem for stem in stems if "alignment_item0" in load_json(f"{stem}.json")["tensors"]]


@pytest.mark.parametrize("stem", runs_with_alignment())
def test_alignments_of_whole_runs_equal_the_original(tmp_path: Path, stem: str) -> None:
    tensors, meta = load_golden(stem)
    system = converted_release(tmp_path, meta["model"], names_of_run(tensors, meta))
    level = max(system.prior_levels)
    prior = system.load_prior(level, dtype=torch.float32)
    processor = system.processor(level)
    stride = window_stride(prior.config.context_length, meta["hop_fraction_by_level"][level])
    for item, piece in enumerate(meta["metas"]):
        alignment = align_lyrics(
            prior,
            processor,
            tensors[f"codes_l{level}"][item],
            processor.resolve(piece["artist"], piece["genre"], piece["lyrics"]),
            total_samples=piece["total_length"],
            offset_samples=piece["offset"],
            stride=stride,
        )
        expected: Tensor = tensors[f"alignment_item{item}"]
        assert expected.any()
        torch.testing.assert_close(alignment.weights, expected, rtol=0, atol=1e-5)
        assert alignment.lyrics == meta["clean_lyrics"][item]


def test_a_piece_shorter_than_a_context_is_one_window(lyrical: System) -> None:
    level = max(lyrical.prior_levels)
    prior, processor = lyrical.load_prior(level), lyrical.processor(level)
    few = prior.config.context_length - 5
    alignment = align_lyrics(
        prior,
        processor,
        torch.arange(few) % prior.config.codebook_size,
        processor.resolve(None, None, "la la la"),
        total_samples=10 * prior.config.window_samples,
        offset_samples=0,
        stride=1,
    )
    assert alignment.weights.shape == (few, 8)
    assert alignment.code_seconds == prior.config.hop_length / prior.config.sampling_rate
    assert 0 < alignment.weights.sum(dim=1).max() <= 1 + 1e-5
