"""Parts of ``tools.photo_search``: scan, index, search, and the page."""
