"""How pictures are painted tile by tile; the public side is `fastnst.runtime.tiles`."""
