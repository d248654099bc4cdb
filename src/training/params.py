"""HELIP's name for the trainer's command line: the patched trainer's parser."""

from hardpairs.training.upstream import patched

parse_args = patched("params").parse_args
