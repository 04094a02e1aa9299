"""The REST door under /api/v1: parse, authenticate, open one transaction, call a feature, render.

No rule of the product lives here, and no SQL.
"""
