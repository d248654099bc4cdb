"""What the patched OpenCLIP trainer calls: flags, data, samplers, losses, step log."""
