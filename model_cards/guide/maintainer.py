""".. include:: maintainer.md"""
