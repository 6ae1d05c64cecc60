"""JukeboxProcessor: the processor of a prior as transformers' Auto classes and the Hub know it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transformers.processing_utils import ProcessorMixin

from jukebox_hf.labels.prior_processor import PriorProcessor


class JukeboxProcessor(PriorProcessor, ProcessorMixin):
    """Artist, genre, timing and lyrics as one prior reads them: `PriorProcessor` has it all."""

    chat_template = None  # read by the base class

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write `processor_config.json` and `vocabulary.json` into a folder, made if needed.

        Args:
            save_directory: the prior's own folder.
            push_to_hub: also upload it; `repo_id` and the other arguments of `push_to_hub` follow.

        Returns:
            The paths of both files.
        """
        written = super().save_pretrained(save_directory)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return written
