"""Functions that the patched trainer calls, each from one hunk of ``patches/``.

``flags`` extends OpenCLIP's parser and checks what was parsed, ``build`` makes the model, the data
and the loss, and ``run`` acts at each step, epoch and checkpoint. Without flags of ours each does
what OpenCLIP does. The namespace ends here: the functions that they call take values, or parts of
``TrainingConfig``. Nothing is imported here, because ``flags`` must not import PyTorch.
"""
