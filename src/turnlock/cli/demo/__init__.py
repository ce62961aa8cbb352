"""`turnlock demo`: the whole of it on one machine, in one command: a server, a database, an application, rotations.

What it does: starts a server and a real PostgreSQL below one directory, stores a login's password as a secret, lets an
application work with it all the time, and asks for a rotation again and again; shows what happens, and what to try.
What it trusts: the directory that it made itself, and the programs it starts. What it must never do: wipe a directory that
it did not make, leave a process behind, or hide a failed operation of the application.
"""

from turnlock.cli.demo.verb import demo

__all__ = ["demo"]
