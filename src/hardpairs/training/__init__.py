"""Training with OpenCLIP's patched trainer: what it calls, and what follows from our options.

Start reading in ``hooks.py``: each function there is called from one place of the trainer.
``config.py`` holds the configuration of a run and ``flags.py`` its command line. ``data.py`` loads
batches, ``run_loss.py`` hands what they know of their rows to the loss, and the other modules do
one thing each: freezing, validation, random changes of images, mining anew, the step log.
"""
