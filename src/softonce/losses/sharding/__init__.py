"""The loss of classes that are divided among processes."""
