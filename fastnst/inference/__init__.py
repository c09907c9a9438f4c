"""From a frame to the stylized frame: sessions, effects over the photo, many files at once.

Never imports torch.

May import `io`, `machine`, `backends`, `tiling`.
"""
