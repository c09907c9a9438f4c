"""How long networks and optimizations take, in processes of their own."""
