"""Measuring stylized pictures and the networks that made them."""
