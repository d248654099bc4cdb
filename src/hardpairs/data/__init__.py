"""The files that the stages hand to each other: samples, shards, embeddings, hard pairs, manifests."""
