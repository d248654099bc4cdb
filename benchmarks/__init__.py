"""Speed, memory and quality; each benchmark prints a table and writes JSON with machine, versions
and command.
"""
