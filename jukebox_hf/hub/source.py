"""One model of an older checkpoint: our names for its tensors, our fields for its options."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jukebox_hf.hub.architecture import list_names
from jukebox_hf.hub.manifest import VQVAE
from jukebox_hf.hub.names import PRIOR, Target
from jukebox_hf.hub.tensor_files import StoredTensor
from jukebox_hf.labels.vocabularies import Dialect


class Component(NamedTuple):
    """A VQ-VAE or a prior in its old form. Names are ours already, orientation is the source's.

    Attributes:
        source: what to call it in messages.
        kind: "vqvae" or "prior".
        tensors: on disk, by our names.
        transposed: names of those that are (in, out) there.
        fields: of our config, as far as the source's options give them; empty if it has none.
        defaults: what fields are that the options do not give.
        missing: options without which a model that was never released cannot be understood.
        trusted: whether the fields hold even where the tensors are those of a released model.
        level: of a prior, if the source says; 0 is the finest.
        dialect: which label lists a prior speaks, if the source says.
    """

    source: str
    kind: str
    tensors: Mapping[str, StoredTensor]
    transposed: frozenset[str]
    fields: Mapping[str, Any] = {}
    defaults: Mapping[str, Any] = {}
    missing: tuple[str, ...] = ()
    trusted: bool = True
    level: int | None = None
    dialect: Dialect | None = None

    @property
    def is_upsampler(self) -> bool:
        """Whether codes of the level above condition this prior."""
        return any(name.startswith("upper_conditioner.") for name in self.tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes as our layout has them."""
        return {
            name: tensor.shape[::-1] if name in self.transposed else tensor.shape
            for name, tensor in self.tensors.items()
        }


def rename(
    source: str, tensors: Mapping[str, StoredTensor], targets: Mapping[str, Target]
) -> Component:
    """Give the tensors of one model our names.

    Raises:
        ValueError: if some belong to no model, to both kinds, or two get the same name.
    """
    if not tensors:
        raise ValueError(f"{source}: expected the tensors of a VQ-VAE or a prior, found none")
    unknown = [name for name in tensors if name not in targets]
    if len(unknown) == len(tensors):
        raise ValueError(
            f"{source}: expected the tensors of a Jukebox VQ-VAE or prior, found "
            f"{list_names(unknown)}"
        )
    if unknown:
        raise ValueError(f"{source}: tensors left over: {list_names(unknown)}")
    kinds = {target.component for target in targets.values()}
    if len(kinds) > 1:
        raise ValueError(f"{source}: expected one model, found tensors of a VQ-VAE and of a prior")
    doubled = _doubled(target.name for target in targets.values())
    if doubled:
        raise ValueError(f"{source}: tensors occur twice: {list_names(doubled)}")
    (kind,) = kinds
    assert kind in (VQVAE, PRIOR)
    return Component(
        source,
        kind,
        {targets[name].name: tensor for name, tensor in tensors.items()},
        frozenset(target.name for target in targets.values() if target.transposed),
    )


def _doubled(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
