"""Makers of batches. Each is one file, a class over pure functions of (rows, what it is told of them, seed, epoch, batch number)."""
