"""A model and adapters to one model without any: their weights are added to those of the priors.

An adapter may be ours (`jukebox finetune --lora`) or any plain LoRA that peft made for a prior.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from jukebox_hf.hub.adapters import merge_adapter, read_adapter
from jukebox_hf.hub.manifest import prior_name
from jukebox_hf.hub.pulling import copy_system
from jukebox_hf.hub.system import System
from jukebox_hf.hub.training_facts import load_training_facts, save_training_facts


def merge(
    system: System,
    output: str | os.PathLike[str],
    *,
    adapter: str | os.PathLike[str] | None = None,
    level: int | None = None,
    overwrite: bool = False,
    refer: bool = False,
) -> Path:
    """Write a model whose priors have the weights of adapters in their own; returns its folder.

    Sums are formed in float32 and stored as the prior was. The folder holds all parts of the model
    and appears complete or not at all.

    Args:
        system: the model; adapters that its manifest names are merged.
        output: folder to be made.
        adapter: folder of one more, with peft's two files; it brings no new artists or genres.
        level: of the prior that this one belongs to, where its shapes do not tell.
        overwrite: replace an existing model folder.
        refer: other parts that are on the Hub are referred to instead of copied.

    Raises:
        ValueError: if there is no adapter, it is of another kind, or belongs to another model.
        FileExistsError: if the output exists.
    """
    found = None if adapter is None else read_adapter(Path(adapter))
    if found is not None and level is None:
        level = system.level_of_adapter(found, str(adapter))
    levels = [each for each in system.prior_levels if system.adapter_place(prior_name(each))]
    if found is None and not levels:
        raise ValueError(f"{system.source}: has no adapter that could be merged; name one")

    def writer(own: int) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            prior = system.load_prior(own, dtype="auto")
            if found is not None and own == level:
                merge_adapter(prior, found, str(adapter))
            prior.save_pretrained(folder)
            with contextlib.suppress(FileNotFoundError):  # a prior that was converted without names
                system.processor(own).save_pretrained(folder)
            place = system.adapter_path(prior_name(own))
            facts = None if place is None else load_training_facts(place)
            if facts is not None:
                save_training_facts(folder, facts)

        return write

    merged = sorted({*levels, *([] if level is None else [level])})
    written = {prior_name(each): writer(each) for each in merged}
    return copy_system(system, output, overwrite=overwrite, written=written, refer=refer)
