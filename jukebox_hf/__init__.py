"""Jukebox on the Hugging Face stack: music as raw audio, with singing, from genre, artist and lyrics."""
