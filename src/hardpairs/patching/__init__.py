"""How the patch series is read, laid over OpenCLIP's files, and put in place in one step; ``tools.apply_patches`` is the command."""
