"""What runs an exported network on one frame: providers, the choice among them, and the contract of the files.

A package of its own below `tiling` and `inference`: both run graphs, and `inference` also cuts pictures into tiles.
Never imports torch.

May import `io`.
"""
