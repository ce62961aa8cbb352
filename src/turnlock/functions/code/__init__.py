"""Packages of functions: taking them in, keeping them by hash, and finding what an invocation names."""
