"""Numbers about pictures and films: likeness, style, artifacts, flow, steadiness.

May import `io`, `losses`.
"""
