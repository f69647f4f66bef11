"""The loss of a linear head: its parameters, the loops over its logits, and their gradients."""
