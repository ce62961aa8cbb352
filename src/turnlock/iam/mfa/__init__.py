"""Virtual MFA devices: their actions, their rows, and the judging of codes."""
