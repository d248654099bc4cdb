"""What the tests of figures share."""


def texts_of(figure):
    """All texts of a figure."""
    return [
        text.get_text()
        for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
        if text.get_text()
    ]
