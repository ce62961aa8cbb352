"""What the steps need of an engine, and Redis."""
