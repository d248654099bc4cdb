"""The base of every other package; nothing here depends on images or captions.

``errors`` holds the messages and exit codes of all commands, ``atomic`` writes files that are
complete or absent, ``progress`` continues killed work, ``ranks`` joins the processes of one run,
``vectors`` scales rows to unit length, ``remote`` reads files behind URLs, and ``components`` finds
the classes that a flag chooses by name. Start reading at ``errors``.
"""
