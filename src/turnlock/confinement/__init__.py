"""Confinement: what the kernel is asked to keep a function from, between fork and the function's first line.

What it does: gives a process a user of its own (where the server is root), namespaces of its own for processes, mounts and
System V IPC (where the kernel allows them), a home of bounded size, limits, and last a Landlock domain: only the files that are
named can be opened, no port can be listened at, no process outside can be signalled, traced or spoken to by abstract sockets.

What it trusts: the server that gave the orders, and the kernel. It runs in the new process, before any code of the function.

What it must never do: import anything of turnlock (every import delays every cold start), leave a step out in silence where
confinement was demanded, or run a function as root.
"""
