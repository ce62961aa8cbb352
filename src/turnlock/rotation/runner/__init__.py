"""Carrying rotations out: what is due, claims and leases, places, steps, and what follows."""
