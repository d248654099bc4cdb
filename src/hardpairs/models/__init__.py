"""Models by name: OpenCLIP's, and small ones of ours with a word tokenizer whose vocabulary travels in the checkpoint."""
