"""CloudWatch Logs: what functions wrote, for an operator to read.

What it does: keeps the lines of invocations, redacted before they come here, for a bounded time and in bounded number, and
answers the actions by which `aws logs tail` and consoles read them, and tools make groups for them. What it trusts: that lines are redacted. What it must
never do: hold an invocation up, or grow without end.
"""
