"""What tools.compare_losses is made of."""
