""".. include:: fine_tuner.md"""
