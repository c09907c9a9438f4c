"""fastnst: neural style transfer, the fast and the exact way."""
