"""Models: OpenCLIP's and ours, from a name and weights to something that embeds.

``load`` gives a model with its transform and tokenizer; start reading there. ``model_config`` knows
the names, ``checkpoint`` reads weights and what stands beside them, ``create`` makes the model, and
``tokenizer`` has our word tokenizers. ``encoders`` are the components that embed images or
captions, ``miniclip`` has the small towers, ``head`` what metric learning adds, and ``huggingface``
the names of other checkpoints.
"""
