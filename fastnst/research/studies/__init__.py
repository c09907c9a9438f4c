"""Studies of the exact method: contact sheets in which one thing changes, as the founding documents show them."""
