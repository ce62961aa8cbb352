"""Rehearsals: asked for and nightly."""
