"""Runs on songs written to disk: a folder of labelled tones, and settings that train in seconds."""

import csv
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.data import encode_dataset, open_songs
from jukebox_hf.hub import System
from jukebox_hf.training.settings import TrainingSettings
from tests.data.song_files import RATE, write_song

CODEC_MODEL: dict[str, Any] = {
    "sampling_rate": RATE,
    "downsamplings": [2, 1, 1],
    "strides": [2, 2, 2],
    "widths": [6, 4, 4],
    "depths": [2, 1, 1],
    "codebook_size": 16,
    "codebook_dim": 4,
    "stft_size": 128,
    "stft_hop_length": 32,
    "stft_window_length": 96,
    "multispectral_stft_sizes": [64],
    "multispectral_stft_hop_lengths": [16],
    "multispectral_stft_window_lengths": [48],
}
PRIOR_MODEL: dict[str, Any] = {
    "context_length": 32,
    "width": 16,
    "depth": 3,
    "heads": 2,
    "attention_width": 8,
    "mlp_width": 16,
    "num_rows": 4,
}
TIMING: dict[str, Any] = {"timing_bins": 8, "min_total_seconds": 0.2, "max_total_seconds": 10.0}
UPSAMPLER: dict[str, Any] = {
    "conditioner_width": 6,
    "conditioner_depth": 2,
    "conditioner_dilation_growth": 3,
}
ARTISTS = ["Anna, Bert & Co", "Björk", "Anna, Bert & Co", "unknown", "Dora", "Dora"]
GENRES = ["rock", "folk", "rock", "folk", "drum & bass", "rock"]


def labelled_songs(folder: Path, count: int = 6, *, seconds: float = 1.5) -> Path:
    """Songs with artist, genre and lyrics in `metadata.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "artist", "genre", "lyrics"])
        for number in range(count):
            write_song(folder / f"song_{number}.wav", seconds, channels=2, seed=number)
            rows.writerow(
                [f"song_{number}.wav", ARTISTS[number % 6], GENRES[number % 6], f"la la {number}"]
            )
    return folder


def song_settings(task: str, output: Path, dataset: Path, **changes: Any) -> TrainingSettings:
    """A run of three steps on songs."""
    given: dict[str, Any] = {
        "task": task,
        "output": str(output),
        "dataset": str(dataset),
        "steps": 3,
        "batch_size": 4,
        "warmup_steps": 1,
        "learning_rate": 1e-3,
        "validation_fraction": 0.3,
        "log_every": 1,
        "save_every": 0,
        "evaluate_every": 0,
        "evaluation_items": 8,
        "sample_seconds": 0.2,
        "device": "cpu",
    }
    if task == "vqvae":
        given |= {"clip_samples": 1024, "bandwidth_seconds": 1, "model": CODEC_MODEL}
    else:
        given["model"] = PRIOR_MODEL
    return TrainingSettings(**{**given, **changes})


def encoded(songs: Path, model: Path, folder: Path) -> Path:
    """The codes of a folder of songs."""
    codec = System.open(model).load_vqvae()
    with torch.no_grad():
        encode_dataset(open_songs(songs).songs, codec, folder)
    return folder
