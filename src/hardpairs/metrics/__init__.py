"""Pure functions of embeddings, ids and labels: how good a model is, and whether a difference is more than chance."""
