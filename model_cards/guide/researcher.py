""".. include:: researcher.md"""
