"""Work on folders of pictures: measuring, restoring and scoring them, training on them. Nothing is printed.

``restore`` reads ahead, restores pictures of one shape in batches of one compiled size, writes each result as it comes,
and notes it in ``manifest.jsonl``: the same call continues an interrupted run, with the same bits. A picture's random
numbers depend on (seed, its name) and nothing else, so order, batch size and neighbours change it by rounding at most.
Several processes, each with its ``Share``, work on one folder without communicating.
"""

from reddiff_jax._lazy import attributes

__getattr__, __dir__ = attributes(__name__, __file__)
