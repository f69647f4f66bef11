"""Pictures become named predictions; exported files answer without torch.

inputs (whatever holds a picture) -> predictor (bytes -> pixels -> logits -> records) -> results
(records that a notebook shows); `run` is the verb.
"""
