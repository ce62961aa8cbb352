"""`turnlock functions`: rotation functions before they meet a real secret.

What it does: rotates a value once by a function from a directory, on a private server that is wiped afterwards, and shows each
step. What it trusts: the operator, whose function it runs as the server would. What it must never do: touch a real secret, show
a value, or leave a process or a file behind.
"""

from turnlock.cli.functions.verb import functions

__all__ = ["functions"]
