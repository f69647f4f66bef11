"""What computes many rows at once: the kernels, the products of the head, and their memory."""
