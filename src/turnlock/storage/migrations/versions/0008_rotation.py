"""What the herd, the dead-man events and rehearsals keep."""

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: nothing yet."""
