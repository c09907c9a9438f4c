"""What is installed, what works, and what mends the rest.

May import everything but `cli`.
"""
