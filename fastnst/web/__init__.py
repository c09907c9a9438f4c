"""The browser page: what it is made of, its server, and the work of this machine that it can ask for.

The page itself is in `web/` at the repository's root; `fastnst web` serves it or writes it for any host.

May import everything but `research`, `diagnosis` and `cli`; what trains is imported where it is asked for.
"""
