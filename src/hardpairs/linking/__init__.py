"""Linking near duplicates: clusters of rows by image and text, or links to a reference list.

``clusters.py`` is where to start reading: it links the rows of one or several checkpoints.
``rows.py`` holds the embeddings that are linked, ``cuts.py`` chooses where the tree is cut,
``reference.py`` links to a reference list, ``words.py`` links texts by shared words, ``pairs.py``
reads pairs that people judged, and ``page.py`` shows the result.
"""
