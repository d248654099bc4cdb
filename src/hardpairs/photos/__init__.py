"""Search of one's own photos: an index of folders and shards, queries, and a page in the browser.

``scan`` lists the files, ``update`` embeds what is new and writes an ``index``, ``search`` ranks
the photos of an index for a query, and ``serve`` shows them on a ``page``. Start reading at
``update.update_index`` and ``search.search``.
"""
