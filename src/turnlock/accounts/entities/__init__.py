"""The rows of IAM: users, groups, roles, policies, devices and providers, each under its MAC; which of them speak for a principal."""
