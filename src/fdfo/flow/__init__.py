"""Mathematics of the path between noise and image; pure functions of tensors.

Conventions of the whole package: time t runs from 1 (noise) to 0 (image); states lie on the straight path
x_t = (1 - t) x0 + t eps; the velocity is v = dx/dt = eps - x0. Tensors are [B, ...]; a time or strength is a
number, a 0-d tensor, or a tensor [B] with one value per sample.
"""
