"""A score of your own: how warm the colours are."""


def warmth(images, prompts, metadata):
    """images [B, 3, H, W] in [0, 1]; returns one number per image, higher is better."""
    red, _, blue = images.mean(dim=(2, 3)).unbind(dim=1)
    return red - blue
