"""What tools.link is made of."""
