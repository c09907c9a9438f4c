"""Numbers about pictures and films: likeness, style, artefacts, flow, steadiness.

May import `io`, `losses`.
"""
