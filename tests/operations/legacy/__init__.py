"""The older schemas that an installation may come from, filled with good rows and with faulty ones.

`make_legacy` (loading.py) makes one on an empty database; `expected` (faults.py) says what must become of each row.
Nothing here may import the product: the older programs did not know it.
"""
