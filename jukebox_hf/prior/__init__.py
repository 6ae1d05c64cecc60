"""Codes to more codes: one `JukeboxPrior` per level."""
