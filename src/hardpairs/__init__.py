"""Hard pairs for CLIP: mine them, train on batches that contain them, weight negatives, measure the gain."""
