"""The page: what people see in a browser, on this machine alone (``python -m worldos.web``; ``wos page`` starts it)."""
