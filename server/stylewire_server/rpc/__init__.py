"""Servicers: the wire to the domain and back, and status codes. Nothing else."""
