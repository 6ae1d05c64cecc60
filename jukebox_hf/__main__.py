"""`python -m jukebox_hf`: the same as the `jukebox` command."""

from jukebox_cli.main import main

if __name__ == "__main__":
    main(prog_name="jukebox")
