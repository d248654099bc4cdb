"""The patch series, and how it gets onto OpenCLIP's training code and off again.

``diff`` lays unified diffs over files in memory. ``series`` reads ``patches/`` for a version of
OpenCLIP. ``folders`` replaces a folder in one step. ``companions`` puts our package beside a user's
clone. ``tree`` combines them: what is in a tree, what would change, the change itself. ``targets``
finds the trees: the copy of the installed trainer that we make, and clones. Start reading at
``tree``; ``hardpairs.cli.patch`` is the command.
"""
