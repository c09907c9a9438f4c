"""Films: reading, converting, encoding and putting them together. `fastnst.runtime.video` paints them."""
