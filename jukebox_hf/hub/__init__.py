"""Models on disk and on the Hub: their layout, and what brings older checkpoints into it.

Names are loaded when they are asked for: that there is no such model can be said without torch.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.hub.built_in import (
        BUILT_IN_NAME as BUILT_IN_NAME,
    )
    from jukebox_hf.hub.built_in import (
        LARGER_MODEL as LARGER_MODEL,
    )
    from jukebox_hf.hub.built_in import (
        built_in_model as built_in_model,
    )
    from jukebox_hf.hub.cards.model_facts import gather_facts as gather_facts
    from jukebox_hf.hub.cards.summary import (
        info_lines as info_lines,
    )
    from jukebox_hf.hub.cards.summary import (
        info_record as info_record,
    )
    from jukebox_hf.hub.cards.summary import (
        short_lines as short_lines,
    )
    from jukebox_hf.hub.conversion.converting import Conversion as Conversion
    from jukebox_hf.hub.conversion.converting import convert as convert
    from jukebox_hf.hub.licences import card_licence as card_licence
    from jukebox_hf.hub.locations import Location as Location
    from jukebox_hf.hub.locations import open_location as open_location
    from jukebox_hf.hub.manifest import (
        OPENAI_LICENCE as OPENAI_LICENCE,
    )
    from jukebox_hf.hub.manifest import (
        AdapterReference as AdapterReference,
    )
    from jukebox_hf.hub.manifest import (
        ComponentReference as ComponentReference,
    )
    from jukebox_hf.hub.manifest import (
        Manifest as Manifest,
    )
    from jukebox_hf.hub.manifest import (
        load_manifest as load_manifest,
    )
    from jukebox_hf.hub.manifest import (
        save_manifest as save_manifest,
    )
    from jukebox_hf.hub.merging import merge as merge
    from jukebox_hf.hub.pulling import (
        Pull as Pull,
    )
    from jukebox_hf.hub.pulling import (
        PulledPart as PulledPart,
    )
    from jukebox_hf.hub.pulling import (
        copy_system as copy_system,
    )
    from jukebox_hf.hub.pulling import (
        pull as pull,
    )
    from jukebox_hf.hub.saving import save_system as save_system
    from jukebox_hf.hub.sharing import Push as Push
    from jukebox_hf.hub.sharing import push as push
    from jukebox_hf.hub.sharing import push_system as push_system
    from jukebox_hf.hub.system import System as System
    from jukebox_hf.hub.training_facts import (
        Figure as Figure,
    )
    from jukebox_hf.hub.training_facts import (
        TrainingData as TrainingData,
    )
    from jukebox_hf.hub.training_facts import (
        TrainingFacts as TrainingFacts,
    )
    from jukebox_hf.hub.training_facts import (
        load_training_facts as load_training_facts,
    )
    from jukebox_hf.hub.training_facts import (
        save_training_facts as save_training_facts,
    )
    from jukebox_hf.hub.uploading import open_target as open_target


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "built_in": ("BUILT_IN_NAME", "LARGER_MODEL", "built_in_model"),
        "cards.model_facts": ("gather_facts",),
        "cards.summary": ("info_lines", "info_record", "short_lines"),
        "conversion.converting": ("Conversion", "convert"),
        "licences": ("card_licence",),
        "locations": ("Location", "open_location"),
        "manifest": (
            "AdapterReference",
            "ComponentReference",
            "Manifest",
            "OPENAI_LICENCE",
            "load_manifest",
            "save_manifest",
        ),
        "merging": ("merge",),
        "pulling": ("Pull", "PulledPart", "copy_system", "pull"),
        "saving": ("save_system",),
        "sharing": ("Push", "push", "push_system"),
        "system": ("System",),
        "training_facts": (
            "Figure",
            "TrainingData",
            "TrainingFacts",
            "load_training_facts",
            "save_training_facts",
        ),
        "uploading": ("open_target",),
    },
)
