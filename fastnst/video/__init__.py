"""Films: reading, painting, encoding and putting them together. `stylize` paints them.

Never imports torch.

May import `io`, `batch`, `backends`, `inference`.
"""
