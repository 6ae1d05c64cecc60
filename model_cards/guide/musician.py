""".. include:: musician.md"""
