"""The service: pictures over HTTP become predictions.

connection, crowd (who may talk, how long) -> bodies (bytes -> uploads) -> decoding (uploads ->
squares, in turns) -> batching (squares -> logits, many at once) -> app (routes, records); the page
is in `web/`. Serving an exported file imports no torch.
"""
