"""What training shows on real music: a codec against its baselines, a prior against chance.

    python -m model_cards.recipe.fetch_music --output music \
        --packages miceamaze zaz-data fretsonfire-songs-sectoid freedink-data
    python -m tests.training.real_music --songs music --output proof

Trains three small codecs (the toy preset: with its whole recipe; from nothing with restarts;
without restarts) and a small top prior, and prints a table and `proof/results.json`. Runs that are
there are not trained again, and go on where they were stopped.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.data import ClipDataset, encode_dataset, open_songs, split_songs
from jukebox_hf.hub import System
from jukebox_hf.training.batches import load_once
from jukebox_hf.training.checkpoints import find_checkpoints
from jukebox_hf.training.codebooks import codebooks, start_codebooks
from jukebox_hf.training.evaluation import CodecEvaluation, PriorEvaluation, evaluate_codec
from jukebox_hf.training.scoring import evaluate_model
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_selection import SongSelection
from jukebox_hf.training.trainer import JukeboxTrainer
from jukebox_hf.vqvae import JukeboxVQVAE

HELD_OUT = 0.2  # of the songs
CLIPS = 64  # that codecs are evaluated on
WINDOWS = 256  # that priors are evaluated on
# As in the paper's ablation (arXiv:2005.00341, section 6.2): from nothing, without warm-up or
# k-means, and with the original's decay of the codebooks.
PLAIN = {"unquantized_steps": 0, "kmeans_steps": 0, "model": {"codebook_decay": 0.99}}


def run(settings: TrainingSettings) -> Path:
    """Train, or go on, or take what is there; the model folder."""
    folder = Path(settings.output or "")
    if not (folder / "final").is_dir():
        resume = bool(find_checkpoints(folder / "checkpoints"))
        JukeboxTrainer(settings, resume=resume, say=print).train()
    return folder / "final"


def codec_settings(songs: Path, output: Path, **changes: Any) -> TrainingSettings:
    return TrainingSettings.preset(
        "toy_vqvae",
        dataset=str(songs),
        output=str(output),
        validation_fraction=HELD_OUT,
        evaluation_items=CLIPS,
        **changes,
    )


class HeldOutClips:
    """Clips of the songs that no run has learnt from."""

    def __init__(self, songs: Path, settings: TrainingSettings, sampling_rate: int) -> None:
        _, held_out = split_songs(open_songs(songs).songs, HELD_OUT, settings.seed)
        self.clips = ClipDataset(
            held_out, sampling_rate=sampling_rate, clip_samples=settings.clip_samples
        )

    def evaluate(self, codec: JukeboxVQVAE) -> CodecEvaluation:
        batches = load_once(
            self.clips, torch.utils.data.default_collate, num_examples=CLIPS, batch_size=8
        )
        return evaluate_codec(codec, (batch["audio"] for batch in batches))

    def some_audio(self) -> torch.Tensor:
        return torch.stack([self.clips[index]["audio"] for index in range(0, len(self.clips), 4)])


def untrained(codec: JukeboxVQVAE, clips: HeldOutClips) -> JukeboxVQVAE:
    """The same codec before its first step, its codebooks full of its own latents."""
    torch.manual_seed(0)
    fresh = JukeboxVQVAE(codec.config).eval()
    audio = clips.some_audio()
    with torch.no_grad():
        latents = [
            fresh.encode_latents(audio, level).flatten(0, 1) for level in range(len(fresh.levels))
        ]
    generator = torch.Generator().manual_seed(0)
    start_codebooks(fresh, latents, kmeans_steps=0, samples_per_step=1, generator=generator)
    return fresh


def with_constant_codebooks(folder: Path) -> JukeboxVQVAE:
    """The trained codec with one vector per level: what its decoders do without codes."""
    codec = System.open(folder).load_vqvae()
    with torch.no_grad():
        for codebook in codebooks(codec):
            codebook.vectors.copy_(codebook.vectors.mean(dim=0).expand_as(codebook.vectors))
    return codec


def measure_codecs(songs: Path, output: Path, steps: int | None) -> dict[str, CodecEvaluation]:
    """Every variant on the held-out songs."""
    length = {} if steps is None else {"steps": steps}
    settings = codec_settings(songs, output / "codec", **length)
    restarts = codec_settings(songs, output / "restarts", **PLAIN, **length)
    without = codec_settings(
        songs, output / "no_restarts", **PLAIN, revival_threshold=0.0, **length
    )
    variants = {"trained": settings, "restarts": restarts, "no restarts": without}
    folders = {name: run(each) for name, each in variants.items()}
    codecs = {name: System.open(folder).load_vqvae() for name, folder in folders.items()}
    clips = HeldOutClips(songs, settings, codecs["trained"].config.sampling_rate)
    codecs["untrained"] = untrained(codecs["trained"], clips)
    codecs["constant codebook"] = with_constant_codebooks(folders["trained"])
    return {name: clips.evaluate(codec) for name, codec in codecs.items()}


def measure_prior(songs: Path, output: Path, steps: int | None) -> PriorEvaluation:
    """A labelled top prior on the codes of the held-out songs."""
    codes = output / "codes"
    model = output / "codec" / "final"
    if not (codes / "state.json").is_file():
        with torch.no_grad():
            encode_dataset(open_songs(songs).songs, System.open(model).load_vqvae(), codes)
    settings = TrainingSettings.preset(
        "toy_top",
        dataset=str(codes),
        output=str(output / "prior"),
        codec=str(model),
        validation_fraction=HELD_OUT,
        evaluation_items=WINDOWS,
        **({} if steps is None else {"steps": steps}),
    )
    found = evaluate_model(
        str(run(settings)),
        SongSelection(dataset=str(codes), validation_fraction=HELD_OUT),
        items=WINDOWS,
        batch_size=16,
        device="cpu",
        components=["prior_1"],
        held_out_only=True,
        compare_labels=True,
    )["prior_1"]
    assert isinstance(found, PriorEvaluation)
    return found


def report(codecs: dict[str, CodecEvaluation], prior: PriorEvaluation) -> list[str]:
    """A table in Markdown."""
    levels = range(len(codecs["trained"].levels))
    head = "".join(f" level {level}: dB | perplexity | codes in use |" for level in levels)
    lines = [f"| codec |{head}", "|---|" + "---|---|---|" * len(levels)]
    for name, found in codecs.items():
        cells = "".join(
            f" {each.spectral_convergence_db:.2f} | {each.perplexity:.0f} | {each.used_share:.0%} |"
            for each in found.levels
        )
        lines.append(f"| {name} |{cells}")
    wrong = math.nan if prior.wrong_label_bits is None else prior.wrong_label_bits
    lines += [
        "",
        f"Top prior: {prior.bits_per_code:.3f} bits per code on held-out songs; frequencies alone "
        f"{prior.unigram_bits:.3f}; with the labels of other songs {wrong:.3f}.",
    ]
    return lines


def measure(
    songs: Path, output: Path, *, codec_steps: int | None = None, prior_steps: int | None = None
) -> tuple[dict[str, CodecEvaluation], PriorEvaluation]:
    """Train and measure everything; steps default to the presets'."""
    codecs = measure_codecs(songs, output, codec_steps)
    prior = measure_prior(songs, output, prior_steps)
    record = {"codecs": {name: each.scalars() for name, each in codecs.items()},
              "prior": prior.scalars()}  # fmt: skip
    (output / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    return codecs, prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--songs", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--codec-steps", type=int)
    parser.add_argument("--prior-steps", type=int)
    given = parser.parse_args()
    found = measure(
        given.songs, given.output, codec_steps=given.codec_steps, prior_steps=given.prior_steps
    )
    print("\n".join(report(*found)))


if __name__ == "__main__":
    main()
