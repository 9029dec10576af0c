"""Mathematics of learning from scores; pure functions of tensors.

B samples, P groups, [C, H, W] latent; `mean` is over the elements of one sample. Differences are half
differences, so that of a pair is one and the same vector up to its sign.
"""
