"""The page in the browser: open a picture, say what is wrong with it, paint the hole, restore, compare, download.

``reddiff-jax app`` serves it (extra ``app``). Every restoration is the job of ``reddiff-jax restore``, and its files
are the same, bit for bit; what the job says is what the page shows. ``page`` needs Gradio, the rest does not.
"""
