"""Words to music in Python: `JukeboxPipeline` puts plan, run and results together.

Nothing is written to disk unless asked. For runs of hours, that must survive anything, `begin`
makes a `Session`; the command line and the studio do the same.
"""

import base64
import html
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.audio import (
    AudioArray,
    AudioTags,
    WriteReport,
    as_audio,
    resample,
    save_audio,
)
from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.generation.alignment import LyricAlignment
from jukebox_hf.generation.alignment_files import save_alignment_files
from jukebox_hf.generation.chains import Seam
from jukebox_hf.generation.devices import (
    DEFAULT_BACKEND,
    check_backend,
    default_precision,
    resolve_device,
)
from jukebox_hf.generation.making import Generation, WindowReport
from jukebox_hf.generation.naming import page_notes, run_notes, take_file_name, take_tags
from jukebox_hf.generation.plan import Plan
from jukebox_hf.generation.progress import Callback, LevelBars
from jukebox_hf.generation.request import PIECE, Request, Wanted, fit
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub.pulling import copy_system
from jukebox_hf.hub.sharing import Push, push_system
from jukebox_hf.hub.system import System
from jukebox_hf.labels import TimedLyrics
from jukebox_hf.sampling_settings import PerLevel
from jukebox_hf.words import enumerate_words, shorten

if TYPE_CHECKING:
    from jukebox_hf.generation.session import Session


@dataclass(frozen=True)
class Take:
    """One piece of music.

    Attributes:
        number: of the take, from 1 on.
        prompt: what it was made from.
        codes: of every level that was made.
        level: the finest level that is complete, which the audio comes from; None if none is.
        audio: (1, samples) float32, nominally in [-1, 1]; None if no level is complete.
        seams: by level, where chains were joined.
        alignment: when its words are sung; None without lyrics, or if the model cannot tell.
        tags: for a file of it.
        page_notes: what a page about it says of model, licence and names.
    """

    number: int
    prompt: Prompt
    codes: Codes | None
    level: int | None
    audio: Tensor | None
    seams: dict[int, list[Seam]]
    alignment: LyricAlignment | None
    tags: AudioTags
    page_notes: str = ""

    def __repr__(self) -> str:
        names = [shorten(each) for each in (self.prompt.artist, self.prompt.genre) if each]
        made = "nothing yet"
        if self.audio is not None and self.codes is not None:
            seconds = self.audio.shape[1] / self.codes.sampling_rate
            made = f"{seconds:.4g} s from level {self.level}"
        return f"Take({', '.join([str(self.number), *names])}: {made})"

    @property
    def file_name(self) -> str:
        """A name for its files, without extension: number, artist, genre and seed."""
        return take_file_name(self.number, self.prompt, self.tags.seed or 0)


@dataclass(frozen=True)
class Music:
    """What a generation made.

    Attributes:
        takes: one per piece, in the order of their numbers.
        sampling_rate: of the audio, in Hz.
        seed: that makes the same music again.
        notes: what was adapted or not taken as given, such as unknown names.
        licence: of the weights, which may cover the music too.
    """

    takes: tuple[Take, ...]
    sampling_rate: int
    seed: int
    notes: tuple[str, ...]
    licence: str | None

    def __repr__(self) -> str:
        lengths = ", ".join(
            "nothing yet" if each is None else f"{each.shape[1] / self.sampling_rate:.4g} s"
            for each in (take.audio for take in self.takes)
        )
        return f"Music({lengths}; {self.sampling_rate} Hz, seed {self.seed})"

    def _repr_html_(self) -> str:
        """A player for each take, with the sound in the page: what notebooks show."""
        rows = []
        for take in self.takes:
            names = [name for name in (take.prompt.artist, take.prompt.genre) if name]
            label = html.escape(", ".join([f"take {take.number}", *names]))
            if take.audio is None:
                rows.append(f"<div>{label}: nothing yet</div>")
                continue
            buffer = io.BytesIO()
            samples = take.audio.detach().cpu().float().clamp(-1, 1).numpy().T
            soundfile.write(buffer, samples, self.sampling_rate, "PCM_16", format="FLAC")
            sound = base64.b64encode(buffer.getvalue()).decode("ascii")
            source = f"data:audio/flac;base64,{sound}"
            rows.append(f'<div>{label}<br><audio controls src="{source}"></audio></div>')
        return "\n".join(rows)

    @property
    def audio(self) -> list[Tensor]:
        """The audio of every take that has any, (1, samples) float32."""
        return [take.audio for take in self.takes if take.audio is not None]

    def numpy(self) -> list[NDArray[np.float32]]:
        """The same as arrays."""
        return [audio.detach().cpu().numpy() for audio in self.audio]

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        audio_format: str = "flac",
        codes: bool = False,
        overwrite: bool = False,
    ) -> list[WriteReport]:
        """Write every take's audio, and with `codes` its codes file, into a folder.

        Where it is known when the words are sung, that is written beside the audio: data, word
        times, .lrc, a picture and a karaoke page. The folder is made if needed. Existing files
        raise `FileExistsError` unless `overwrite`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        reports = []
        for take in self.takes:
            if take.audio is not None:
                path = folder / f"{take.file_name}.{audio_format}"
                reports.append(
                    save_audio(
                        path, take.audio, self.sampling_rate, tags=take.tags, overwrite=overwrite
                    )
                )
                if take.alignment is not None and bool(take.alignment.weights.any()):
                    title, notes = take.tags.title or "", take.page_notes
                    save_alignment_files(path, take.alignment, title=title, notes=notes)
            if codes and take.codes is not None:
                path = folder / f"{take.file_name}.safetensors"
                if path.exists() and not overwrite:
                    raise FileExistsError(f"{path} exists; say overwrite=True to replace it")
                save_codes(path, take.codes)
        return reports


class MusicRun:
    """A generation under way: iterate over it, then ask for `music()`.

    Each step samples one batch of windows and reports it. Stop whenever you like; `music()` gives
    what is there, and iterating again goes on.
    """

    def __init__(self, pipeline: "JukeboxPipeline", plan: Plan) -> None:
        self.pipeline = pipeline
        self.plan = plan
        self.generation = Generation(plan, device=pipeline.device)

    def __iter__(self) -> Iterator[WindowReport]:
        return iter(self.generation)

    def music(self) -> Music:
        """What has been made so far, decoded from the finest level that each take has complete."""
        generation, plan = self.generation, self.plan
        generation.prepare()
        takes = []
        for take in plan.takes:
            level = generation.finest_level(take.number)
            made = any(len(codes) for codes in generation.codes[take.number].values())
            takes.append(
                Take(
                    number=take.number,
                    prompt=take.prompt,
                    codes=generation.take_codes(take.number) if made else None,
                    level=level,
                    audio=None if level is None else generation.decode(take.number, level),
                    seams={
                        level: seams
                        for (number, level), seams in generation.seams.items()
                        if number == take.number
                    },
                    alignment=generation.alignments.get(take.number),
                    tags=take_tags(plan, take),
                    page_notes=page_notes(plan, take),
                )
            )
        return Music(
            takes=tuple(takes),
            sampling_rate=plan.sampling_rate,
            seed=plan.settings.seed,
            notes=run_notes(plan),
            licence=self.pipeline.system.licence,
        )


class JukeboxPipeline:
    """All levels of a model, from words to audio.

    >>> pipeline = JukeboxPipeline.from_pretrained()  # the built-in model; # doctest: +SKIP
    >>> music = pipeline.generate(genre="rock", lyrics="La la la", seconds=20)  # doctest: +SKIP
    >>> music.save("my_song")  # doctest: +SKIP
    """

    def __init__(
        self,
        system: System,
        *,
        device: str | torch.device = "auto",
        precision: str | None = None,
        backend: str | None = None,
    ) -> None:
        """`precision`, `backend`: see `from_pretrained`; None: what suits the device."""
        self.system = system
        self.device = resolve_device(device)
        self._asked_precision, self._asked_backend = precision, backend
        self.precision = precision or default_precision(self.device)
        self.backend = backend or DEFAULT_BACKEND
        check_backend(self.backend, self.device)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        device: str | torch.device = "auto",
        precision: str | None = None,
        backend: str | None = None,
        adapter: str | os.PathLike[str] | Mapping[int, str | os.PathLike[str]] | None = None,
        local_files_only: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> "JukeboxPipeline":
        """Open a model without reading weights: they are loaded level by level when music is made.

        Args:
            model: a folder, or a repository on the Hub, that holds a whole model; None: the one
                that comes with the package, small enough for a laptop and no network.
            revision: commit, tag or branch of a repository.
            device: "auto", "cpu", "cuda", "mps" or a torch device.
            precision: of the priors: "float32", "float16", "bfloat16", or "int8" and "int4", which
                round the weights; None: float16 on CUDA, else float32.
            backend: how a step runs: "eager", "compiled", or on CUDA "graph", which
                no GPU has run yet; None: eager.
            adapter: a LoRA of one of its priors: a folder or repository with peft's two files; or
                one by level, where it does not say its level.
            local_files_only: ask nothing of the Hub.
            cache_dir: instead of huggingface_hub's own cache.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if it is not a model, the adapter not one of it, or the device not there.
        """
        system = System.open(
            model,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
        )
        adapters = adapter if isinstance(adapter, Mapping) else {None: adapter}
        for level, place in adapters.items():
            if place is not None:
                system.attach_adapter(place, level=level)
        return cls(system, device=device, precision=precision, backend=backend)

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Make a folder that holds the model with all its parts, also those in other repositories.

        Raises `FileExistsError` if it exists, and what loading would if a part is damaged.
        """
        return copy_system(self.system, folder, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> Push:
        """Upload the model to the Hub, with a card: see `jukebox_hf.hub.push`.

        A model that came from the Hub is not uploaded again: the new repository refers to it.
        """
        return push_system(
            self.system, repo_id, private=private, revision=revision, message=commit_message
        )

    @property
    def sampling_rate(self) -> int:
        """Of all audio that is made, in Hz; also what a primer without a rate is taken to have."""
        return self.system.vqvae_config().sampling_rate

    def to(self, device: str | torch.device) -> "JukeboxPipeline":
        """Compute on another device from now on; returns the pipeline itself.

        A precision that was not asked for becomes what suits that device. `ValueError` for a device
        that is not there or does not run the backend; then nothing has changed.
        """
        found = resolve_device(device)
        check_backend(self.backend, found)
        self.device = found
        self.precision = self._asked_precision or default_precision(found)
        return self

    def generate(
        self,
        *,
        artist: PerLevel[str] | None = None,
        genre: PerLevel[str] | None = None,
        lyrics: str | TimedLyrics | None = None,
        seconds: float | None = None,
        total_seconds: float | None = None,
        offset_seconds: float | None = None,
        primer: str | Path | AudioArray | Codes | None = None,
        primer_start_seconds: float | None = None,
        primer_end_seconds: float | None = None,
        primer_sampling_rate: int | None = None,
        takes: int | None = None,
        prompts: Sequence[Prompt] | Mapping[int, Prompt] | None = None,
        seed: int | None = None,
        to_level: int | None = None,
        temperature: PerLevel[float] | None = None,
        top_k: PerLevel[int] | None = None,
        top_p: PerLevel[float] | None = None,
        hop_fraction: PerLevel[float] | None = None,
        chains: PerLevel[int | Literal["auto"]] | None = None,
        codes_only: PerLevel[bool] | None = None,
        guidance: PerLevel[float] | None = None,
        progress: bool | None = None,
        callback: Callback | None = None,
    ) -> Music:
        """Make music.

        Args:
            artist, genre: see `Prompt`; for all levels or by level, as upsamplers may know others.
            lyrics, seconds, total_seconds, offset_seconds: see `Prompt`.
            primer: music to continue: a file, codes of one take, or an array of numpy or torch,
                (samples,) or (channels, samples), floats in [-1, 1].
            primer_start_seconds, primer_end_seconds: the part of it that is used, see `Prompt`.
            primer_sampling_rate: of a primer that is an array; None: `sampling_rate`.
            takes: how many pieces to make, 1 if it is not said.
            prompts: one `Prompt` per take instead of all of these, maybe by number of the take.
            seed: of all randomness; None draws one, which `Music.seed` tells.
            to_level: the finest level to make: 0 is finished music, the top a quick sketch.
            temperature, top_k, top_p: how codes are chosen; for all levels or by level.
            hop_fraction: how far windows move, as a part of what a prior sees at once.
            chains: into how many runs a level is cut that are made side by side: faster, not exact;
                "auto" follows from the length. The top level is cut only if it is named.
            codes_only: never let a prior sing where it should play, see `LevelSettings`.
            guidance: how much more artist and genre count than a prior learnt, see there too.
            progress: show a bar per level on stderr, or in a notebook as notebooks do; None: where
                somebody looks, in a notebook or a terminal.
            callback: called now and then with a level, the seconds of audio that it has so far over
                all takes, and the seconds that it will have. What it raises ends the work.

        Raises:
            ValueError: for what this model cannot do, before any weight is read.
        """
        run = self.start(
            artist=artist,
            genre=genre,
            lyrics=lyrics,
            seconds=seconds,
            total_seconds=total_seconds,
            offset_seconds=offset_seconds,
            primer=primer,
            primer_start_seconds=primer_start_seconds,
            primer_end_seconds=primer_end_seconds,
            primer_sampling_rate=primer_sampling_rate,
            takes=takes,
            prompts=prompts,
            seed=seed,
            to_level=to_level,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            hop_fraction=hop_fraction,
            chains=chains,
            codes_only=codes_only,
            guidance=guidance,
        )
        with LevelBars(run.plan, shown=progress, callback=callback) as bars:
            run.generation.on_codes = bars.show
            for report in run:
                bars.show(report.level, report.codes_done, report.codes_total)
        return run.music()

    def start(self, **wanted: Unpack[Wanted]) -> MusicRun:
        """Plan music; iterate over what comes back to make it, one batch of windows at a time.

        The arguments, and what is refused, are those of `generate`.
        """
        return MusicRun(self, self.plan(self._request(wanted)))

    def _request(self, wanted: Wanted) -> Request:
        given: dict[str, Any] = dict(wanted)
        rate, prompts = given.pop("primer_sampling_rate", None), given.pop("prompts", None)
        primer = given.get("primer")
        if primer is not None and not isinstance(primer, (str, os.PathLike, Codes)):
            rate = self.sampling_rate if rate is None else rate
            audio = as_audio(primer, "primer")
            given["primer"] = resample(audio, rate, self.sampling_rate)
        elif rate is not None:
            raise ValueError("primer_sampling_rate goes with a primer that is an array")
        if prompts is None:
            return Request.new(given)
        doubled = [name for name in PIECE if given.get(name) is not None]
        if doubled:
            raise ValueError(f"prompts take the place of {enumerate_words(doubled)}; say it there")
        request = Request.new(given)
        numbered = prompts if isinstance(prompts, Mapping) else dict(enumerate(prompts, start=1))
        return replace(request, prompts=numbered)

    def plan(self, request: Request, *, going_on: "Session | None" = None) -> Plan:
        """What a request comes to with this model, on this device, before any weight is read.

        Args:
            request: see `Request.new`, `more`, `finer` and `edit`.
            going_on: a session that was begun with the same request.

        Raises:
            ValueError: for what this model cannot do, and for a session that was begun otherwise.
        """
        request = replace(
            request,
            precision=request.precision or self._asked_precision,
            backend=request.backend or self._asked_backend,
        )
        settings = going_on.settings if going_on is not None else None
        plan = fit(self.system, request, self.device, going_on=settings)
        if going_on is not None:
            going_on.check_same(plan, request.parent)
        return plan

    def begin(
        self, folder: str | os.PathLike[str], request: Request, *, plan: Plan | None = None
    ) -> "Session":
        """A session in a folder that makes what is asked for; one that is there goes on.

        Args:
            folder: new or empty, or with a session that was begun with the same request.
            request: what to make.
            plan: of that request, if `plan` was asked for it before.

        Raises:
            ValueError, OSError: see `plan`, `Session.create` and `Session.open`.
        """
        from jukebox_hf.generation.session import Session

        if Session.is_at(folder):
            session = Session.open(folder)
            self.plan(request, going_on=session)
            return session
        return Session.create(
            folder, plan or self.plan(request), device=self.device, parent=request.parent
        )
