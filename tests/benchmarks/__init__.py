"""Benchmarks: run only when asked for, by `make bench` and its kin. Their times gate nothing."""
