"""The product: one package per noun, each with its rules, permissions and statements.

A feature knows no web and no terminal. It may use the features before it in the order of `pyproject.toml`, never those
after it, and reaches another feature's tables only through that feature.
"""
