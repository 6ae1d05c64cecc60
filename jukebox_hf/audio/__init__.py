"""Files <-> tensors: read, resample, mix down, cut out, write.

Audio in memory is a float32 tensor (channels, samples), nominally in [-1, 1], at a sampling rate
that the caller names. wav, flac, ogg, opus and mp3 go through soundfile and need nothing else on
the system; m4a, aac, wma and the sound of a video go through FFmpeg, which the extra `formats`
brings as a package. How long a file is is found out, not believed; what is missing or damaged is
said. `to_segment` and `from_segment` go to pydub and back.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.audio.arrays import AudioArray as AudioArray
    from jukebox_hf.audio.arrays import as_audio as as_audio
    from jukebox_hf.audio.arrays import as_mono as as_mono
    from jukebox_hf.audio.formats import WRITABLE_FORMATS as WRITABLE_FORMATS
    from jukebox_hf.audio.reading import AudioInfo as AudioInfo
    from jukebox_hf.audio.reading import AudioReader as AudioReader
    from jukebox_hf.audio.reading import AudioWindow as AudioWindow
    from jukebox_hf.audio.reading import audio_info as audio_info
    from jukebox_hf.audio.reading import load_audio as load_audio
    from jukebox_hf.audio.reading import mix_down as mix_down
    from jukebox_hf.audio.reading import peak_normalize as peak_normalize
    from jukebox_hf.audio.reading import read_tags as read_tags
    from jukebox_hf.audio.resampling import resample as resample
    from jukebox_hf.audio.resampling import resampled_length as resampled_length
    from jukebox_hf.audio.segments import from_segment as from_segment
    from jukebox_hf.audio.segments import to_segment as to_segment
    from jukebox_hf.audio.writing import AudioTags as AudioTags
    from jukebox_hf.audio.writing import WriteReport as WriteReport
    from jukebox_hf.audio.writing import check_output_path as check_output_path
    from jukebox_hf.audio.writing import save_audio as save_audio


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "arrays": (
            "AudioArray",
            "as_audio",
            "as_mono",
        ),
        "formats": ("WRITABLE_FORMATS",),
        "reading": (
            "AudioInfo",
            "AudioReader",
            "AudioWindow",
            "audio_info",
            "load_audio",
            "mix_down",
            "peak_normalize",
            "read_tags",
        ),
        "resampling": (
            "resample",
            "resampled_length",
        ),
        "segments": (
            "from_segment",
            "to_segment",
        ),
        "writing": (
            "AudioTags",
            "WriteReport",
            "check_output_path",
            "save_audio",
        ),
    },
)
