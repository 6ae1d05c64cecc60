"""How far the work on songs is, as bars on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jukebox_hf.data import EncodingProgress
    from jukebox_hf.representations import EmbeddingProgress


class ProgressBar:
    """One bar for looking into the songs, then one for the work on them, on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.stage = ""

    def look_into(self, done: int, total: int) -> None:
        """So many songs have been looked into."""
        self._show("Looking into songs", done, total, "song", "")

    def encode(self, progress: EncodingProgress) -> None:
        """So much audio has been encoded."""
        total = None if progress.seconds is None else round(progress.seconds)
        of = f"/{progress.songs}" if progress.songs is not None else ""
        name = progress.song.rsplit("/", 1)[-1][:30]
        detail = f"song {progress.songs_done + 1}{of} {name}"
        self._show("Encoding", round(progress.seconds_done), total, "s of audio", detail)

    def embed(self, progress: EmbeddingProgress) -> None:
        """So much audio has been embedded."""
        name = progress.name.rsplit("/", 1)[-1][:30]
        detail = f"{progress.done}/{progress.total} {name}"
        total = round(progress.seconds)
        self._show("Embedding", round(progress.seconds_done), total, "s of audio", detail)

    def close(self) -> None:
        """Leave the last bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _show(self, stage: str, done: int, total: int | None, unit: str, detail: str) -> None:
        from tqdm import tqdm

        if stage != self.stage:
            self.close()
            self.stage = stage
            self.bar = tqdm(
                desc=stage,
                total=total,
                unit=unit,
                file=sys.stderr,
                disable=True if self.quiet else None,  # None: off unless on a terminal
                dynamic_ncols=True,
            )
        self.bar.set_postfix_str(detail, refresh=False)
        self.bar.update(done - self.bar.n)
