"""The recognition daemon: one process that sees only inside a signed deployment order."""
