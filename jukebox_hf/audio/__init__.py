"""Files <-> tensors: read, resample, mix down, cut out, write.

Audio in memory is a float32 tensor (channels, samples), nominally in [-1, 1], at a sampling rate
that the caller names. wav, flac, ogg, opus and mp3 go through soundfile and need nothing else on
the system; m4a, aac, wma and the sound of a video go through FFmpeg, which the extra `formats`
brings as a package. How long a file is is found out, not believed; what is missing or damaged is
said. `to_segment` and `from_segment` go to pydub and back.
"""

from jukebox_hf.audio.arrays import AudioArray, as_audio, as_mono
from jukebox_hf.audio.reading import (
    AudioInfo,
    AudioReader,
    AudioWindow,
    audio_info,
    load_audio,
    mix_down,
    peak_normalize,
    read_tags,
)
from jukebox_hf.audio.resampling import resample, resampled_length
from jukebox_hf.audio.segments import from_segment, to_segment
from jukebox_hf.audio.writing import (
    WRITABLE_FORMATS,
    AudioTags,
    WriteReport,
    check_output_path,
    save_audio,
)

__all__ = [
    "WRITABLE_FORMATS",
    "AudioArray",
    "AudioInfo",
    "AudioReader",
    "AudioTags",
    "AudioWindow",
    "WriteReport",
    "as_audio",
    "as_mono",
    "audio_info",
    "check_output_path",
    "from_segment",
    "load_audio",
    "mix_down",
    "peak_normalize",
    "read_tags",
    "resample",
    "resampled_length",
    "save_audio",
    "to_segment",
]
