"""The service: pictures over HTTP become predictions.

bodies (bytes -> pictures) -> batching (pictures -> logits, many at once) -> app (routes, records);
the page is in `web/`. Serving an exported file imports no torch.
"""
