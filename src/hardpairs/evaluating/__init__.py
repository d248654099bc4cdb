"""What tools.evaluate measures beside retrieval."""
