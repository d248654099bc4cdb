"""The trainer under the names that HELIP's users know; the code is in ``hardpairs``."""
