"""How long networks and optimisations take, in processes of their own."""
