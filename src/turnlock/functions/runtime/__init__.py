"""Processes of functions: pool, launcher, the Runtime API, confinement, lines of output."""
