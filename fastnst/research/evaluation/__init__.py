"""How good trained networks are: every measure over many photos and films, and what ships."""
