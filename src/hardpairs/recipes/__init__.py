"""Which recipe makes a model better on a user's own data: an honest experiment, on stored features.

A recipe is some flags of the trainer. ``study`` trains light heads over stored embeddings with each
recipe, on several splits and seeds, and chooses settings on validation data. ``test_set`` opens the
test data once, at the end. ``table`` says what the differences are worth. Start reading at
``recipe``.
"""
