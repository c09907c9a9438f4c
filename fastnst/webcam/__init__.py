"""Cameras painted live: capture, keys, screen, recording. `loop` runs them.

Never imports torch.

May import `io`, `backends`, `inference`, `video`.
"""
