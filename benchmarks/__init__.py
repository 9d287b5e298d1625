"""Measurements of this project: `python -m benchmarks` lists them. They need a machine to themselves."""
