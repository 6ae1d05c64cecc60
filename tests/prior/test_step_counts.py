"""What one step costs, counted: operations per kind of layer, no waiting, no new buffers.

Counts are exact and gate changes: one that adds operations says here why it is worth it.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.precision import torch_dtype
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.prior_config import LayerKind
from jukebox_hf.prior.quantization import pack, quantize
from jukebox_hf.sampling_settings import LevelSettings
from tests.prior.tiny_priors import ARCHITECTURES, inputs, tiny_prior

# Operations that touch memory; views (select, transpose, ...) cost only their call.
VIEWS = {
    "aten.view", "aten._unsafe_view", "aten.t", "aten.transpose", "aten.unsqueeze", "aten.squeeze",
    "aten.select", "aten.slice", "aten.split", "aten.detach", "aten.expand", "aten.alias",
    "aten.as_strided", "aten._reshape_alias",
}  # fmt: skip
# Two norms, four linear layers, a gate of three operations, two sums (11); then attention:
WORK: dict[LayerKind, int] = {
    "row": 15,  # one write to the cache; scores under a mask, softmax, mixture
    "dense": 15,
    "column": 16,  # the index read, for views of one panel
    "previous_row": 18,  # the same; scores without a mask need scaled queries; nothing in row 0
    "cross": 15,  # scaled queries, nothing to write down
    "prime": 17,  # what is kept past the prime positions is read and chosen
}


class Counting(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.calls[str(function.overloadpacket)] += 1
        return function(*args, **(kwargs or {}))

    @property
    def work(self) -> Counter[str]:
        return Counter({name: count for name, count in self.calls.items() if name not in VIEWS})


def stepped(prior: JukeboxPrior, batch: int = 1, position: int = 13) -> Counting:
    """The operations of one step in the middle of a window."""
    codes, given = inputs(prior, batch)
    with torch.no_grad():  # inference mode would hide what operations are made of
        conditioning = prior.condition(**given)
        cache = prior.new_cache(batch)
        tokens = prior.to_tokens(codes)
        prior.prefill(tokens[:, :position], conditioning, cache)
        at = torch.tensor([position])
        with Counting() as counting:
            prior.step(tokens[:, position - 1], at, conditioning, cache)
    return counting


@pytest.mark.parametrize("kind", WORK)
def test_operations_of_a_layer(kind: LayerKind) -> None:
    names = {"dense": "dense", "cross": "lyrics_encoder", "prime": "lyrics_sequence"}
    prior = tiny_prior(names.get(kind, "plain"))
    index = prior.config.layer_kinds.index(kind)
    hidden, cache = torch.randn(1, prior.config.width), prior.new_cache(1)
    place = cache.tables.at(torch.tensor([13])).get(kind)
    with torch.no_grad(), Counting() as counting:
        prior.decoder.layers[index].step(hidden, place, cache.layers[index])
    assert sum(counting.work.values()) == WORK[kind], counting.work


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_reads_no_value(name: str) -> None:
    """On the meta device there are none to read: whatever waits for a value raises."""
    prior = tiny_prior(name)
    codes, given = inputs(prior, 1)
    with torch.inference_mode():
        conditioning = prior.condition(**given).to("meta")
        cache = prior.new_cache(1, device="meta")
        prior.to("meta")
        token, at = codes[:, 0].to("meta"), torch.tensor([13], device="meta")
        logits = prior.step(token, at, conditioning, cache)
    assert logits.shape == (1, prior.config.vocabulary_size)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_quantized_step_reads_no_value(precision: Any) -> None:
    prior = quantize(tiny_prior("plain", width=64, attention_width=64, mlp_width=64), precision)
    codes, _ = inputs(prior, 1)
    with torch.inference_mode():
        conditioning, cache = prior.condition(), prior.new_cache(1, device="meta")
        prior.to("meta")
        at = torch.tensor([13], device="meta")
        assert prior.step(codes[:, 0].to("meta"), at, conditioning, cache).shape == (1, 20)


def test_where_a_step_reads_and_writes_is_looked_up_once_for_all_layers() -> None:
    prior = tiny_prior("plain")
    cache, at = prior.new_cache(1), torch.tensor([13])
    with torch.no_grad(), Counting() as counting:
        places = cache.tables.at(at)
    assert set(places) == set(prior.config.layer_kinds)
    # the numbers of the position, masks for rows and columns, whether there is a row above
    assert sum(counting.work.values()) == 4, counting.work


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_steps_cost_the_same_everywhere_in_a_window(name: str) -> None:
    prior = tiny_prior(name)
    counts = [stepped(prior, position=position).calls for position in (1, 7, 23)]
    assert counts[0] == counts[1] == counts[2]


def test_a_batch_costs_the_operations_of_one() -> None:
    prior = tiny_prior("upsampler")
    one, more = (sum(stepped(prior, batch).work.values()) for batch in (1, 16))
    assert more == one + len(prior.decoder.layers)  # queries are folded by copying


def test_prefill_is_one_pass() -> None:
    prior = tiny_prior("plain")
    codes, _ = inputs(prior, 2)
    passes = []
    prior.decoder.layers[0].register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        prior.prefill(codes[:, :20], prior.condition(), prior.new_cache(2))
    assert len(passes) == 1


# Per released prior: weights that one step reads, and bytes of its cache in 16 bit, in millions.
RELEASED = {"upsampler_level_0": (801, 386), "1b_lyrics": (911, 338), "5b_lyrics": (5393, 983)}


@pytest.mark.parametrize("name", RELEASED)
def test_what_a_step_of_a_released_prior_reads_and_keeps(name: str) -> None:
    """The figures of the design: millions of weights, and megabytes that keys and values take."""
    config = JukeboxPriorConfig.preset(name)
    with torch.device("meta"):
        prior = JukeboxPrior(config)
    row_length = config.row_length
    kept = {
        "row": row_length,
        "column": config.num_rows * row_length,
        "previous_row": 2 * row_length,
        "dense": config.sequence_length,
        "prime": config.prime_length,
        "cross": config.lyric_length,
    }
    positions = sum(kept[kind] for kind in config.layer_kinds)
    size = prior.new_cache(1, torch.float16, "meta").num_bytes()
    assert size == 2 * 2 * config.attention_width * positions
    weights = prior.output.weight.numel() + sum(
        parameter.numel()
        for name, parameter in prior.decoder.layers.named_parameters()
        if ".key_value." not in name  # read once per window
    )
    assert (round(weights / 1e6), round(size / 1e6)) == RELEASED[name]


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_step_leaves_no_memory_behind(precision: str) -> None:
    """What a step allocates it gives back: sampling a window takes no more than its buffers."""
    prior = tiny_prior("upsampler").to(torch_dtype(precision))
    codes, given = inputs(prior, 1)
    sampler = WindowSampler(pack(prior), LevelSettings(), 1)
    with torch.inference_mode():
        conditioning = prior.condition(**given)
        sampler.sample(codes[:, :4], torch.rand(1, 4), conditioning)
        state = sampler._narrow(1, conditioning)
        state.position.fill_(8)
        with torch.profiler.profile(profile_memory=True) as profile:
            sampler.backend.run(state, 3)
    events = profile.events()
    assert events is not None
    changes = [event.self_cpu_memory_usage for event in events]
    assert sum(change > 0 for change in changes) > 10  # it does see what is allocated
    assert sum(changes) == 0
