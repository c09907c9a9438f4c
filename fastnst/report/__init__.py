"""Reports as pages: blocks, tables and plots to HTML, Markdown, PNG and JSON.

May import `io`.
"""
