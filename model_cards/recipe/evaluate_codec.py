"""How well a codec rebuilds songs that it has not heard.

    python -m model_cards.recipe.evaluate_codec --model codec --dataset music --run runs/codec

Takes a clip from the middle of every song that the run held out (or training with the same
`--validation-fraction` and `--split-seed`; all songs with a fraction of 0), encodes and decodes it
at every level, and prints for each level the mean over clips of

- spectral convergence in dB (Arik et al. 2018), at the resolution of the codec's spectral loss:
  lower is better, 0 is as bad as silence; the Jukebox paper (2020, table 4) has -23.0, -12.4 and
  -8.3 dB at hops 8, 32 and 128 for its 44.1 kHz codec;
- SI-SDR in dB (Le Roux et al. 2019): higher is better;
- log-mel distance in dB: root mean square difference of 80 mel bands, lower is better;

and, over all clips together, the perplexity of the codes and the share of the codebook in use. A
clip of 20 s takes about 10 s of one CPU core with the demo's codec.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jukebox_hf import JukeboxVQVAE
from jukebox_hf.data import Song, open_songs, split_songs
from jukebox_hf.listening.sound import mel_filters
from jukebox_hf.vqvae.losses import STFT, magnitudes, spectral_convergence
from model_cards.recipe.code_statistics import perplexity
from model_cards.recipe.figures import Report, add_output_options
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.song_choice import add_split_options, split_of

MEL_BANDS = 80
MEL_STFT = STFT(1024, 256, 1024)
# Quieter than this under the loudest band of the clip is as good as silence.
FLOOR_DB = 80.0
# Jukebox (2020), table 4, by hop length: another codec at 44.1 kHz, other music.
PAPER_CONVERGENCE_DB = {8: -23.0, 32: -12.4, 128: -8.3}
DISTANCES = {
    "spectral_convergence_db": "spectral convergence",
    "si_sdr_db": "SI-SDR",
    "log_mel_db": "log-mel distance",
}


def si_sdr(target: Tensor, estimate: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two signals (samples,).

    Infinite for a scaled copy, minus infinity for what has nothing in common with the target.
    """
    target, estimate = target.double() - target.mean(), estimate.double() - estimate.mean()
    projection = target * (estimate @ target / target.square().sum().clamp_min(1e-20))
    signal, distortion = projection.square().sum(), (estimate - projection).square().sum()
    if not distortion:
        return math.inf if signal else -math.inf
    return float(10 * torch.log10(signal / distortion))


def log_mel_distance(target: Tensor, estimate: Tensor, sampling_rate: int) -> float:
    """Root mean square difference in dB of two signals (samples,) over mel bands and frames."""
    filters = mel_filters(MEL_BANDS, MEL_STFT.size, sampling_rate)
    mels = [
        filters @ magnitudes(audio[None, None].double(), MEL_STFT)[0].square()
        for audio in (target, estimate)
    ]
    floor = mels[0].max().clamp_min(1e-20) * 10 ** (-FLOOR_DB / 10)
    first, second = (10 * torch.log10(mel.clamp_min(floor)) for mel in mels)
    return float((first - second).square().mean().sqrt())


def middle_clip(song: Song, sampling_rate: int, seconds: float) -> Tensor:
    """The middle of a song, or all of a shorter one: (1, 1, samples)."""
    total = song.num_samples(sampling_rate)
    length = min(round(seconds * sampling_rate), total)
    with song.open(sampling_rate) as reader:
        return reader.read_available((total - length) // 2, length)[None]


@torch.no_grad()
def measure_clip(codec: JukeboxVQVAE, audio: Tensor, level: int) -> tuple[dict[str, float], Tensor]:
    """The three distances of one clip (1, 1, samples) at a level, and its codes (time,)."""
    config = codec.config
    (codes,) = codec.encode(audio, [level])
    decoded = codec.decode(codes, level)
    audio = audio[..., : decoded.shape[-1]]
    stft = STFT(config.stft_size, config.stft_hop_length, config.stft_window_length)
    ratio = float(spectral_convergence(magnitudes(audio, stft), magnitudes(decoded, stft)))
    distances = {
        "spectral_convergence_db": 20 * math.log10(max(ratio, 1e-10)),
        "si_sdr_db": si_sdr(audio[0, 0], decoded[0, 0]),
        "log_mel_db": log_mel_distance(audio[0, 0], decoded[0, 0], config.sampling_rate),
    }
    return distances, codes[0]


def evaluate(codec: JukeboxVQVAE, songs: Sequence[Song], seconds: float) -> list[dict[str, Any]]:
    """One record per level, finest first; `clips` in it has the distances of every song."""
    config = codec.config
    clips: list[list[dict[str, Any]]] = [[] for _ in range(config.num_levels)]
    counts = np.zeros((config.num_levels, config.codebook_size), dtype=np.int64)
    for number, song in enumerate(songs, start=1):
        audio = middle_clip(song, config.sampling_rate, seconds)
        for level in range(config.num_levels):
            distances, codes = measure_clip(codec, audio, level)
            clips[level].append({"song": song.name, "genre": song.genre, **distances})
            counts[level] += np.bincount(codes.numpy(), minlength=config.codebook_size)
        note(f"{number}/{len(songs)} {song.name}")
    return [
        {
            "level": level,
            "hop_length": config.hop_lengths[level],
            **{name: float(np.mean([clip[name] for clip in clips[level]])) for name in DISTANCES},
            "perplexity": perplexity(counts[level]),
            "used_share": float((counts[level] > 0).mean()),
            "clips": clips[level],
        }
        for level in range(config.num_levels)
    ]


def fill_report(report: Report, records: Sequence[dict[str, Any]], codebook_size: int) -> None:
    """The table and the figures of `evaluate`'s records."""
    rows = []
    for record in records:
        level, hop = record["level"], record["hop_length"]
        paper = PAPER_CONVERGENCE_DB.get(hop)
        rows.append(
            (
                level,
                hop,
                *(f"{record[name]:.2f}" for name in DISTANCES),
                "" if paper is None else f"{paper:.1f}",
                f"{record['perplexity']:.0f}",
                f"{record['used_share']:.1%}",
            )
        )
        for name, title in DISTANCES.items():
            report.figure(f"{title[0].upper()}{title[1:]}, level {level} (dB)", record[name])
        report.figure(
            f"Codebook perplexity, level {level} (of {codebook_size})", record["perplexity"]
        )
        report.figure(f"Codes in use, level {level} (share)", record["used_share"])
    headings = ("level", "hop", *(f"{title} dB" for title in DISTANCES.values()))
    report.table((*headings, "the paper's convergence dB", "perplexity", "codes in use"), rows)
    genres = sorted({clip["genre"] for clip in records[0]["clips"]})
    by_genre = []
    for genre in genres:
        means = [
            np.mean([clip["si_sdr_db"] for clip in record["clips"] if clip["genre"] == genre])
            for record in records
        ]
        count = sum(clip["genre"] == genre for clip in records[0]["clips"])
        by_genre.append((genre, count, *(f"{mean:.2f}" for mean in means)))
    levels = (f"SI-SDR dB, level {record['level']}" for record in records)
    report.table(("genre", "songs", *levels), by_genre)


@script
def main(arguments: list[str]) -> None:
    parser = script_parser("evaluate_codec", __doc__)
    parser.add_argument("--model", required=True, type=Path, help="folder of a codec")
    parser.add_argument("--dataset", required=True, help="folder of music that training read")
    add_split_options(parser)
    parser.add_argument("--seconds", type=float, default=20.0, help="of every song (%(default)s)")
    add_output_options(parser)
    given = parser.parse_args(arguments)
    if not (given.model / "config.json").is_file():
        raise ValueError(f"{given.model} is not the folder of a codec: it has no config.json")
    split = split_of(given)
    songs = open_songs(given.dataset).songs
    if split.fraction:
        songs = split_songs(songs, split.fraction, split.seed)[1]
    codec = JukeboxVQVAE.from_pretrained(given.model, dtype=torch.float32)
    records = evaluate(codec, songs, given.seconds)
    kind = "held-out songs" if split.fraction else "songs"
    dataset = f"{len(songs)} {kind}, {given.seconds:g} s from the middle of each"
    report = Report("model_cards.recipe.evaluate_codec", arguments, dataset)
    report.records["levels"] = records
    fill_report(report, records, codec.config.codebook_size)
    report.finish(given.figures, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
