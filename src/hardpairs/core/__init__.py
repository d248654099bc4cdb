"""What every other package builds on; nothing here knows what an image or a caption is.

``errors`` holds the messages and exit codes of all commands, ``atomic`` writes files that are
complete or absent, ``progress`` continues killed work, ``ranks`` joins the processes of one run,
``vectors`` scales rows to unit length, ``remote`` reads files behind URLs, and ``components`` finds
the classes that a flag chooses by name. Start reading at ``errors``.
"""
