"""One thin module per command: parse the arguments, call the library, print."""
