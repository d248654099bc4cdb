"""Demonstration data: images with captions, made here and repeatable byte for byte.

``build.py`` is where to start reading: it keeps a folder of data that is finished, unfinished or
somebody else's. ``pairs.py``, ``classes.py`` and ``collection.py`` each make one layout.
``subjects.py`` chooses what is shown: drawings of ``emoji.py``, shown by ``photograph.py``, or
scenes of ``scenes.py``. ``serve.py`` serves the images to a downloader.
"""
