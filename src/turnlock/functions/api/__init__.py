"""Functions of one's own: what Lambda's API keeps, and how it becomes a program that a process can run.

What it does: takes in packages, checks them and keeps them by their hash; keeps versions, aliases, resource policies, tags and
sealed environments; answers Lambda's actions; finds what an invocation names. What it trusts: rows only under their MAC, a package only
under the hash that such a row names. What it must never do: run anything itself, or let a package decide where its files go.
"""
