"""Figures of a run for papers and slides: PNG files drawn from its stored results, without a screen."""
