"""Training methods: one small file each, over the shared mathematics of `flow` and `objectives`."""
