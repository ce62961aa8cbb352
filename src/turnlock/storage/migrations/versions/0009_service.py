"""What the whole of Secrets Manager keeps beside."""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: nothing yet."""
