"""Training a feed-forward network on a style image.

May import `io`, `losses`, `models`, `metrics`.
"""
