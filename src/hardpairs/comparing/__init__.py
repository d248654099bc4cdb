"""Comparison of losses: the same start model, data, batches and steps, and another loss each.

``comparison.py`` is where to start reading: it trains, measures and writes the result. ``parts.py``
finds or makes the parts of the data, ``runs.py`` starts the trainer, ``measure.py`` measures a
checkpoint query by query, ``table.py`` and ``page.py`` show losses side by side.
"""
