"""Measure models and read what was measured.

``retrieval`` and ``classes`` measure a model, ``baselines`` what its numbers stand beside, and
``evaluation`` puts them together; ``results`` writes the files of a run folder. ``runs`` reads such
folders, ``spread`` and ``methods`` compare them. Start reading at ``evaluation``.
"""
