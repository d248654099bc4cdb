"""Reports of what was measured, mined and trained.

``page`` makes the report of finished runs from its parts: examples, hard pairs of the training
data, intervals, charts, wording, origin. ``pair_page`` and ``batch_page`` show hard pairs and
batches, ``spread_table`` and ``plots`` compare and draw runs, ``calibration`` measures SANW's
values. Start reading at ``page``.
"""
