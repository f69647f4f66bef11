"""An artefact becomes a file for another runtime: pixels in, logits and probabilities out."""
