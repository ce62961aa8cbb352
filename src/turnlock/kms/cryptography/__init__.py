"""What is done with keys: materials, sealing for other rooms, and the cryptographic actions."""
