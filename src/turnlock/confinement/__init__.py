"""Confinement: what the kernel is asked to keep a child from, between fork and the first line of a stranger's code.

What it does: starts functions and local databases in one way (`start`, by `orders`). A child gets a user of its own (where the server
is root), namespaces of its own for processes, mounts and System V IPC, a root directory that shows only its places, a home of bounded
size, limits, and last a Landlock domain and a system call filter.

What it trusts: the server that gave the orders, and the kernel. It runs in the new process, before any code of the child.

What it must never do: import anything of turnlock (every import delays every cold start), leave a step out in silence where
confinement was demanded, or run a child as root.
"""
