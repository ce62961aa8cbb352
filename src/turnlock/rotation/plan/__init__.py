"""The rotation plan as a pure machine, its values, and schedules."""
