"""What every other package builds on: errors and exit codes, atomic files, remote paths, processes."""
