"""What the seams of parallel chains cost: bits per code after a seam, and how the sound changes.

`python -m tests.benchmarks.seams MODEL [LEVEL] [--codes FILE] [--chains 8] [--takes 4]`, and the
same with `--chain-starts cold` for chains that begin behind nothing. The level
is sampled in chains, below the codes of a file or below what the model itself makes in one chain.
Then the prior scores every code with at least half a context before it, as if there had been no
seams. On random weights the numbers say nothing: use a trained model.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf import JukeboxPipeline
from jukebox_hf.codes import Codes, load_codes
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.plan import make_plan
from jukebox_hf.generation.settings import CHAIN_STARTS, Prompt
from jukebox_hf.listening.sound import onsets_at_seams
from tests.benchmarks.window_inputs import PieceInputs, bits_of_piece

BIN_CODES = 32
MEASURED_CODES = 1024  # after a seam; what is farther away is elsewhere
NORMAL_WITHIN = 256  # the target
FLUX_WINDOW, FLUX_HOP = 1024, 256  # samples
SEAM_SECONDS = 0.03  # on either side: twice the cross-fade


class Excess(NamedTuple):
    """Bits per code after seams, less the mean elsewhere; one entry per bin.

    Attributes:
        mean: (bins,) excess bits.
        error: (bins,) standard error of it, over seams.
        elsewhere: mean bits per code far from any seam.
        normal_after: codes until the excess is within two standard errors of 0 and, taken
            together, stays there; None if it does not within what was measured.
    """

    mean: Tensor
    error: Tensor
    elsewhere: float
    normal_after: int | None


def bits_after_seams(
    pieces: Sequence[tuple[Tensor, Sequence[int]]],
    *,
    bin_codes: int = BIN_CODES,
    measured: int = MEASURED_CODES,
) -> Excess:
    """The excess of codes after seams.

    Args:
        pieces: bits (time,) of every code of a piece, and the codes at which chains were joined.
            Seams with another one, or the end, within `measured` codes count as far as they go.

    Raises:
        ValueError: if there is no seam, or nothing that is far from all of them.
    """
    after: list[Tensor] = []
    elsewhere: list[Tensor] = []
    for bits, seams in pieces:
        far = torch.ones(len(bits), dtype=torch.bool)
        for seam, following in itertools.pairwise([*seams, len(bits)]):
            far[seam : seam + measured] = False
            part = torch.full((measured,), torch.nan)
            found = bits[seam : min(seam + measured, following)]
            part[: len(found)] = found
            after.append(part)
        elsewhere.append(bits[far])
    usual = torch.cat(elsewhere) if elsewhere else torch.zeros(0)
    if not after or not len(usual):
        raise ValueError(
            f"need seams and codes that are {measured} away from them; got {len(after)} seams and "
            f"{len(usual)} such codes: take longer pieces, or fewer chains"
        )
    level = float(usual.mean())
    per_seam = torch.stack(after).unflatten(1, (-1, bin_codes)).nanmean(dim=-1) - level  # type: ignore[no-untyped-call]
    count = per_seam.isfinite().sum(dim=0)
    mean = per_seam.nanmean(dim=0)
    spread = (per_seam - mean).square().nanmean(dim=0)
    error = (spread / (count - 1).clamp(min=1)).sqrt()
    return Excess(mean, error, level, _normal_after(mean, error, bin_codes))


def _normal_after(mean: Tensor, error: Tensor, bin_codes: int) -> int | None:
    """Codes before the first bin that is normal, and from which on the mean is normal, too."""
    for index in range(len(mean)):
        rest = mean[index:]
        of_rest = error[index:].square().sum().sqrt() / len(rest)
        if mean[index] <= 2 * error[index] and rest.mean() <= 2 * of_rest:
            return index * bin_codes
    return None


def spectral_flux(audio: Tensor, *, window: int = FLUX_WINDOW, hop: int = FLUX_HOP) -> Tensor:
    """How much louder the spectrum gets from frame to frame: (frames,), for audio (samples,).

    The sum of increases of the magnitude over the sum of magnitudes around it, between 0 and 1: a
    click is a peak (Dixon 2006, "Onset detection revisited"). Frame i compares windows i and i + 1.
    """
    spectrum = torch.stft(
        audio, window, hop, window=torch.hann_window(window), center=False, return_complex=True
    ).abs()
    increase = (spectrum[:, 1:] - spectrum[:, :-1]).clamp(min=0).sum(dim=0)
    return increase / (spectrum[:, 1:] + spectrum[:, :-1]).sum(dim=0).clamp(min=1e-8)


class FluxAtSeams(NamedTuple):
    """The largest flux near a seam against that of stretches of the same length elsewhere.

    Attributes:
        ratio: of the means.
        rank: mean share of the stretches elsewhere that have less; 0.5 if seams are like the rest.
    """

    ratio: float
    rank: float


def flux_at_seams(
    flux: Tensor, seam_samples: Sequence[int], reach: int, *, hop: int = FLUX_HOP, window: int = 0
) -> FluxAtSeams:
    """Compare seams with elsewhere.

    Args:
        flux: (frames,) from `spectral_flux` with that `hop`.
        seam_samples: where in the audio the seams are.
        reach: samples on either side that count as the seam.
        window: length of the frames' windows: a frame belongs to the middle of its two.
    """

    def frame_of(sample: int) -> int:
        return (sample - window // 2 - hop // 2) // hop

    frames = max(reach // hop, 1)
    length = 2 * frames + 1
    largest = flux.unfold(0, length, 1).amax(dim=-1)  # of the stretch beginning at each frame
    near = torch.zeros(len(largest), dtype=torch.bool)
    at = []
    for sample in seam_samples:
        first = min(max(frame_of(sample) - frames, 0), len(largest) - 1)
        at.append(first)
        near[max(first - length + 1, 0) : first + length] = True
    elsewhere = largest[~near]
    if not at or not len(elsewhere):
        raise ValueError(f"need seams and stretches away from them, got {len(at)} seams")
    found = largest[at]
    rank = (elsewhere.unsqueeze(0) < found.unsqueeze(1)).float().mean()
    return FluxAtSeams(float(found.mean() / elsewhere.mean()), float(rank))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("level", type=int, nargs="?", default=0)
    parser.add_argument("--codes", type=Path, help="a codes file with the level above, one take")
    parser.add_argument("--seconds", type=float, default=20.0, help="without --codes")
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--chain-starts", choices=CHAIN_STARTS, default=CHAIN_STARTS[0])
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--artist")
    parser.add_argument("--genre")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(measure(parser.parse_args()), indent=1))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Sample, score and compare; plain values for JSON."""
    pipeline = JukeboxPipeline.from_pretrained(given.model, device="cpu", precision=given.precision)
    system, level = pipeline.system, given.level
    labels = {"artist": given.artist, "genre": given.genre}
    prompts = prompts_for(pipeline, given, labels)
    plan = make_plan(
        system,
        dict(enumerate(prompts, start=1)),
        seed=given.seed,
        precision=given.precision,
        to_level=level,
        chain_starts=given.chain_starts,
        chains={level: given.chains},
    )
    generation = Generation(plan)
    for _ in generation:
        pass
    prior = system.load_prior(level)
    hop = system.prior_config(level).hop_length
    scored: list[tuple[Tensor, list[int]]] = []
    fluxes: list[FluxAtSeams] = []
    onsets: list[Tensor] = []
    for number, codes in generation.codes.items():
        seams = [seam.code for seam in generation.seams.get((number, level), [])]
        inputs = PieceInputs(system, level, codes, **labels)
        scored.append((bits_of_piece(prior, inputs), seams))
        audio = generation.decode(number, level)[0]
        rate = system.prior_config(level).sampling_rate
        onsets.append(onsets_at_seams(audio, rate, [code * hop for code in seams]))
        fluxes.append(
            flux_at_seams(
                spectral_flux(audio),
                [code * hop for code in seams],
                round(SEAM_SECONDS * rate),
                window=FLUX_WINDOW,
            )
        )
    shortest = min(len(bits) // (len(seams) + 1) for bits, seams in scored)
    measured = min(MEASURED_CODES, shortest // 2 // BIN_CODES * BIN_CODES)
    excess = bits_after_seams(scored, measured=measured)
    return {
        "model": given.model,
        "level": level,
        "chains": given.chains,
        "takes": len(scored),
        "seams": sum(len(seams) for _, seams in scored),
        "codes": sum(len(bits) for bits, _ in scored),
        "bits_elsewhere": round(excess.elsewhere, 4),
        "excess_bits": [round(value, 4) for value in excess.mean.tolist()],
        "standard_error": [round(value, 4) for value in excess.error.tolist()],
        "bin_codes": BIN_CODES,
        "normal_after_codes": excess.normal_after,
        "target_codes": NORMAL_WITHIN,
        "chain_starts": given.chain_starts,
        "onset_strength": [round(value, 3) for value in torch.cat(onsets).mean(dim=0).tolist()],
        "flux_ratio": round(sum(one.ratio for one in fluxes) / len(fluxes), 3),
        "flux_rank": round(sum(one.rank for one in fluxes) / len(fluxes), 3),
    }


def prompts_for(
    pipeline: JukeboxPipeline, given: argparse.Namespace, labels: dict[str, str | None]
) -> list[Prompt]:
    """Takes whose upper codes are there: of a file, or made in one chain per level."""
    level, hops = given.level, pipeline.system.vqvae_config().hop_lengths
    if level == len(hops) - 1:  # the top has nothing above it
        return [Prompt(**labels, seconds=given.seconds)] * given.takes
    if given.codes is not None:
        codes = load_codes(given.codes)
        # Whole codes of the top level: a piece has no others.
        samples = codes.levels[level + 1].shape[1] * hops[level + 1] // hops[-1] * hops[-1]
        upper = {
            one: some[:, : samples // hops[one]]
            for one, some in codes.levels.items()
            if one > level
        }
        seconds = samples / codes.sampling_rate
    else:
        above = pipeline.generate(
            prompts=[Prompt(**labels, seconds=given.seconds)] * given.takes,
            seed=given.seed,
            to_level=level + 1,
            chains=1,
        )
        made = [take.codes for take in above.takes]
        assert all(codes is not None for codes in made)
        seconds = given.seconds
        return [Prompt(**labels, seconds=seconds, primer=codes) for codes in made]
    primer = Codes(upper, codes.hop_lengths, codes.sampling_rate, codes.fingerprint, codes.origin)
    return [Prompt(**labels, seconds=seconds, primer=primer)] * given.takes


if __name__ == "__main__":
    main()
