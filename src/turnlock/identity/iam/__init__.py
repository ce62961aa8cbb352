"""IAM's own rooms: users, groups, roles, managed policies, and all that is kept with them.

What it does: carries out IAM's actions on an account's identities, and hands the policies that speak for a principal to the
decision. What it trusts: `keys.records`, which checks the MAC of every row that it reads. What it must never do: show a secret
access key or a TOTP seed a second time, or let a row count whose MAC does not hold.
"""
