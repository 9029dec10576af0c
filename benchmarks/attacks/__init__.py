"""Attacks on a running system, one line each; `python -m benchmarks.attacks --help`."""
