"""Parts of ``tools.report``: runs in, one page out."""
