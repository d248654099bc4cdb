"""Contents of a data set, before it is embedded or trained on: ``hardpairs check``.

``survey`` reads a data set once, ``overlap`` compares two of them. Whether a model can still learn
from its pairs is another question: ``hardpairs.training.readiness``.
"""
