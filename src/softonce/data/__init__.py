"""From a folder of images to batches: sources (what there is), scan (what can be read), loader."""
