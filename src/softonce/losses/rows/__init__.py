"""The loss of rows of logits: what is asked for, checked, and the ways in which it is computed."""
