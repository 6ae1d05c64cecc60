"""What a session's files say, as checked records: `session.json`, and the parts of other processes.

Here stands every key of `session.json`, and how it lies on disk; reading one checks all of it. What
plans, models and reports put into a record is `recording`'s business; codes lie in files of their
own (`session_files`).
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_text
from jukebox_hf.generation.settings import MOST_SECONDS, GenerationSettings, PromptRecord
from jukebox_hf.hops import check_hop_lengths
from jukebox_hf.prior.sizes import Float32Products
from jukebox_hf.records import OMIT, from_json, read_json, to_json
from jukebox_hf.words import shorten

FORMAT_VERSION = 1
RECORD_NAME = "session.json"
MAX_BYTES = 64_000_000  # a batch of windows takes a line of some 200 bytes
MOST_TAKES = 10_000
HIGHEST_RATE = 10_000_000


@dataclass(kw_only=True)
class ComponentIdentity:
    """What tells a component of a model from another: a commit, or a digest of local files.

    Attributes:
        revision: commit on the Hub.
        digest: of a local folder.
        adapter: the same of an adapter that is applied to it.
    """

    revision: str | None
    digest: str | None
    adapter: "ComponentIdentity | None" = field(default=None, metadata=OMIT)


@dataclass(kw_only=True)
class ModelRecord:
    """The model that a session was begun with.

    Attributes:
        source: a repository on the Hub, `BUILT_IN`, or a folder: as a path from the session's own
            folder, which begins with a dot, so that nothing names the folders above both.
        revision: commit of a repository.
        name, licence: what the model's manifest says.
        components: identity by name, of those that the session needs.
        codebook_fingerprint: see `Codes`.
        adapters: by name of their component, those that are no part of the model; as `source`.
    """

    source: str
    revision: str | None
    name: str | None
    licence: str | None
    components: dict[str, ComponentIdentity]
    codebook_fingerprint: str | None
    adapters: dict[str, str] = field(default_factory=dict, metadata=OMIT)


@dataclass(kw_only=True)
class LabelsRecord:
    """`ResolvedLabels` of a level without the lyrics' symbols, which follow from the text."""

    artist_id: int
    genre_ids: tuple[int, ...]
    artist_name: str
    genre_name: str
    lyric_text: str
    lyric_seconds: tuple[float, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StoredCodes:
    """Codes that are in a file: how many at least, and the CRC-32 of that many."""

    count: int
    crc32: str

    def __post_init__(self) -> None:
        _require(self.count >= 0, "count must be at least 0", self.count)


@dataclass
class CandidateRecord:
    """Which candidate a take's hole is filled with, and bits per code of what follows it."""

    number: int
    bits: float


@dataclass(kw_only=True)
class TakeRecord:
    """One take: what was asked for, and what is there.

    Attributes:
        number: from 1 on.
        prompt: what was asked for.
        num_samples, total_samples, offset_samples: see `Measures`.
        seconds: of audio.
        existing: codes given by level.
        labels: by level, as its prior reads them.
        codes: what is on disk by level; None while an audio primer waits to be encoded.
        audio: name of the finished file.
        alignment: names of the files that say when the words are sung.
        kept: whether it is marked as good.
        peak, clipped_samples: of the finished audio.
        candidate: what its hole is filled with.
    """

    number: int
    prompt: PromptRecord
    num_samples: int
    seconds: float
    total_samples: int
    offset_samples: int
    existing: dict[int, int]
    labels: dict[int, LabelsRecord]
    codes: dict[int, StoredCodes] | None
    audio: str | None
    alignment: list[str]
    kept: bool
    peak: float | None = field(default=None, metadata=OMIT)
    clipped_samples: int | None = field(default=None, metadata=OMIT)
    candidate: CandidateRecord | None = field(default=None, metadata=OMIT)

    def __post_init__(self) -> None:
        _require(1 <= self.number <= MOST_TAKES, f"number must be 1 to {MOST_TAKES}", self.number)
        most = MOST_SECONDS * HIGHEST_RATE
        for name in ("num_samples", "total_samples"):
            value = getattr(self, name)
            _require(1 <= value <= most, f"{name} must be 1 to {most}", value)
        _require(0 <= self.offset_samples <= most, "offset_samples must be 0 or more", "less")
        for count in self.existing.values():
            _require(0 <= count <= self.num_samples, "existing must be 0 or more", count)
        for name in (*self.alignment, *([self.audio] if self.audio is not None else [])):
            plain = name and name == Path(name).name and "\\" not in name and name not in ".."
            _require(bool(plain), "expected the plain name of a file", name)


@dataclass
class SeamRecord:
    """Where two chains are joined: at a code, in seconds, and how alike they sound there."""

    code: int
    seconds: float
    likeness: float
    fade: int | None = field(default=None, metadata=OMIT)  # see `Seam`


@dataclass
class ChainRecord:
    """The chains of a take's level.

    Attributes:
        take, level: which.
        runs: begin and end of each, in codes.
        codes: what is on disk of each; None: nothing.
        seams: where they are joined, once they are.
    """

    take: int
    level: int
    runs: list[tuple[int, int]]
    codes: list[StoredCodes | None]
    seams: list[SeamRecord] | None = None

    def __post_init__(self) -> None:
        _require(len(self.codes) == len(self.runs), "codes must be as many as runs", self.codes)
        for begin, end in self.runs:
            _require(0 <= begin < end, "runs must begin before they end", (begin, end))


@dataclass(kw_only=True)
class HoleRecord:
    """A hole, see `Hole`, and the old piece.

    Attributes:
        begin, end, removed, candidates: see `Hole`.
        sha256: of the old piece's codes.
        codes: what is on disk of it, by level.
        chains: that it is made of.
    """

    begin: int
    end: int
    removed: int
    candidates: int
    sha256: str
    codes: dict[int, StoredCodes]
    chains: list[ChainRecord]

    def __post_init__(self) -> None:
        _require(0 <= self.begin < self.end, "a hole must end after it begins", self.end)
        _require(self.removed >= 0, "removed must be 0 or more", self.removed)
        _require(self.candidates >= 1, "candidates must be 1 or more", self.candidates)


@dataclass
class RowRecord:
    """One window of a batch: see `WindowRecord` of `run`."""

    take: int
    chain: int
    start: int
    lyric_span: tuple[int, int] | None


@dataclass
class BatchRecord:
    """A batch of windows that was sampled."""

    level: int
    given: int
    new: int
    seconds: float
    rows: list[RowRecord]


@dataclass(kw_only=True)
class ParentRecord:
    """What a session goes on from.

    Attributes:
        id: of the session; None for a codes file, or a session without an id.
        source: name of its folder, or of the file. Earlier versions wrote the whole path.
        action: "continue", "upsample", ...
        takes: of it, one for each take here.
        from_seconds: where they were cut.
        details: whatever else the action has to say.
    """

    id: str | None = field(default=None, metadata=OMIT)
    source: str
    action: str
    takes: list[int]
    from_seconds: float | None = None
    details: dict[str, Any] = field(default_factory=dict, metadata=OMIT)


@dataclass(kw_only=True)
class SessionRecord:
    """All that `session.json` says.

    Attributes:
        id: 16 random digits, that stay when the folder is renamed; None in sessions of versions
            without ids, until they are worked on.
        created, updated: times.
        complete: whether all is made and written.
        model, settings: what it is made with.
        device: that it was begun on.
        versions: of packages, by name.
        sampling_rate: of the audio, in Hz.
        hop_lengths: audio samples per code of every level, finest first.
        notes: what was adapted, or not taken as given.
        parent: what it goes on from.
        takes, chains, windows: what is asked for, and what was made.
        given: chains of the codes that takes begin with.
        hole: what is made of every take, where that is not all after what they begin with.
        filled: chains of levels whose hole is filled.
        batch_sizes: windows at once, by level.
        float32_products: how it multiplies with float32 weights.
        packed_float32, transposed_float32: the same in sessions of earlier versions, see
            `products`.
        float32_between: whether it samples with float32 between layers of 16, 8 or 4 bits, see
            `bound_steps`.
    """

    id: str | None = field(default=None, metadata=OMIT)
    created: str
    complete: bool
    model: ModelRecord
    settings: GenerationSettings
    device: str
    versions: dict[str, str]
    sampling_rate: int
    hop_lengths: tuple[int, ...]
    notes: list[str]
    parent: ParentRecord | None
    takes: list[TakeRecord]
    batch_sizes: dict[int, int]
    chains: list[ChainRecord]
    given: list[ChainRecord] = field(default_factory=list, metadata=OMIT)
    hole: HoleRecord | None = field(default=None, metadata=OMIT)
    filled: list[ChainRecord] = field(default_factory=list, metadata=OMIT)
    float32_products: Float32Products = field(default="plain", metadata=OMIT)
    packed_float32: bool = field(default=False, metadata=OMIT)
    transposed_float32: bool = field(default=False, metadata=OMIT)
    float32_between: bool = field(default=False, metadata=OMIT)
    updated: str | None = field(default=None, metadata=OMIT)
    windows: list[BatchRecord]

    def __post_init__(self) -> None:
        check_hop_lengths(self.hop_lengths)
        rate, levels = self.sampling_rate, range(len(self.hop_lengths))
        _require(1 <= rate <= HIGHEST_RATE, f"sampling_rate must be 1 to {HIGHEST_RATE}", rate)
        numbers = [take.number for take in self.takes]
        _require(len(set(numbers)) == len(numbers) > 0, "takes must be numbered each", numbers)
        sampled = set(self.settings.levels)
        wanted = set(levels[self.settings.to_level :])
        _require(sampled <= wanted, "settings must be of levels that are sampled", sampled)
        _require(self.settings.to_level in levels, "to_level must be a level", sampled)
        for take in self.takes:
            _require(set(take.existing) == set(levels), "existing must name every level", "less")
            for found in (take.labels, take.codes or {}):
                _require(set(found) <= set(levels), "there is no such level", list(found))
        for chain in (*self.chains, *self.given, *self.filled):
            known = chain.take in numbers and chain.level in levels
            _require(known, "chains must be of takes and levels", (chain.take, chain.level))
        if self.hole is not None:
            named = {*self.hole.codes, *(chain.level for chain in self.hole.chains)}
            _require(named <= set(levels), "a hole must be in levels that are there", named)
            _require(
                wanted <= set(self.hole.codes), "a hole must be in all levels that are made", found
            )
        for level, size in self.batch_sizes.items():
            _require(size >= 1 and level in levels, "batch_sizes must be at least 1", size)

    @property
    def products(self) -> Float32Products:
        """How it multiplies with float32 weights, whichever version began it."""
        if not self.packed_float32:
            return self.float32_products
        return "transposed" if self.transposed_float32 else "packed"

    @classmethod
    def load(cls, folder: Path) -> "SessionRecord":
        """The record of the session in `folder`.

        Raises `FileNotFoundError` for a folder without one, `ValueError` for a damaged one or one
        of a later version.
        """
        path = folder / RECORD_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is not a session: it has no {RECORD_NAME}")
        content = read_json(path, max_bytes=MAX_BYTES)
        return from_json(cls, content, str(path), version=FORMAT_VERSION)

    def save(self, folder: Path) -> None:
        """Replace the record of the session in `folder`; one line per batch, for readers."""
        content = self.to_json()
        windows = ",\n    ".join(json.dumps(entry) for entry in content.pop("windows"))
        listed = f"[\n    {windows}\n  ]" if windows else "[]"
        text = json.dumps(content, ensure_ascii=False, indent=2).removesuffix("}").rstrip()
        write_text(folder / RECORD_NAME, f'{text},\n  "windows": {listed}\n}}\n')

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in the file."""
        content: dict[str, Any] = to_json(self, version=FORMAT_VERSION)
        return content

    def take(self, number: int) -> TakeRecord | None:
        """The take of that number, if there is one."""
        return next((take for take in self.takes if take.number == number), None)

    def chains_of(
        self, number: int, level: int, runs: list[tuple[int, int]] | None = None
    ) -> ChainRecord:
        """The chains of a take's level; begun with `runs` if there are none."""
        for entry in self.chains:
            if (entry.take, entry.level) == (number, level):
                return entry
        assert runs is not None, "chains are recorded before their seams"
        entry = ChainRecord(number, level, runs, [None] * len(runs))
        self.chains.append(entry)
        return entry

    def joins(self) -> list[ChainRecord]:
        """The chains that are heard in the takes, with their seams where they are joined."""
        filled = {(entry.take, entry.level) for entry in self.filled}
        given = [entry for entry in self.given if (entry.take, entry.level) not in filled]
        made = [entry for entry in self.chains if entry.seams is not None]
        return sorted([*given, *self.filled, *made], key=lambda one: (one.take, -one.level))

    def merge(self, part: "PartRecord", source: str) -> None:
        """Bring what another process has made into the record; `ValueError` if it is not of it."""
        try:
            self._merge(part)
            self.__post_init__()
        except ValueError as error:
            raise ValueError(f"{source}: does not belong to the session: {error}") from None

    def _merge(self, part: "PartRecord") -> None:
        for number, codes in part.takes.items():
            take = self.take(number)
            _require(take is not None, "expected a take of the session", number)
            assert take is not None
            take.codes = codes
        for own in part.chains:
            entry = self.chains_of(own.take, own.level, own.runs)
            _require(entry.runs == own.runs, "expected the chains of the session", own.runs)
            entry.codes[own.chain] = own.codes
        self.windows += part.windows
        self.batch_sizes |= part.batch_sizes


@dataclass
class ChainPart:
    """What a process made of one chain."""

    take: int
    level: int
    runs: list[tuple[int, int]]
    chain: int
    codes: StoredCodes

    def __post_init__(self) -> None:
        inside = 0 <= self.chain < len(self.runs)
        _require(inside, f"chain must be 0 to {len(self.runs) - 1}", self.chain)


@dataclass
class PartRecord:
    """What another process than the main one puts down, until the record takes it over."""

    takes: dict[int, dict[int, StoredCodes]] = field(default_factory=dict)
    chains: list[ChainPart] = field(default_factory=list)
    windows: list[BatchRecord] = field(default_factory=list)
    batch_sizes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "PartRecord":
        """Read one; `ValueError` for a damaged file."""
        return from_json(cls, read_json(path, max_bytes=MAX_BYTES), str(path))

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text(path, json.dumps(to_json(self)))


def new_id() -> str:
    """An id for a session: nobody has to choose it, and no two are the same."""
    return secrets.token_hex(8)


def _require(holds: bool, expectation: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{expectation}, got {shorten(found)}")
