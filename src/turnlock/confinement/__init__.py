"""Confinement of child processes by the kernel, between fork and the first line of other people's code.

What it does: starts functions and local databases in one way (`start`, by `orders`). A child gets a user of its own
(where the server is root), namespaces of its own for processes, mounts and System V IPC, a root directory that shows
only its places, a home of bounded size, limits, and last a Landlock domain and a system call filter.

What it trusts: the server that gave the orders, and the kernel. It runs in the new process, before any code of the
child.

What it must never do: import anything of turnlock (each import delays each cold start), leave a step out silently where
confinement was required, or run a child as root.
"""
