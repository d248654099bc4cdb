"""What embedding, mining and training cost: predicted from constants that a calibration measures.

Start with ``machine``, the constants, and ``cost``, what a prediction consists of. ``mining_cost``,
``embedding_cost`` and ``training_cost`` are the models, pure functions of both. ``schedule`` checks
the model of mining: it adds up the tiles of the engine's own plan. ``calibrate`` measures.
"""
