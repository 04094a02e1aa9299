"""What a database says of its own work: use of indexes, sizes, connections and who waits for whom.

It only reads, and only the engines' catalogues: no row of the product. Each engine has a module with the same three
functions; what an engine cannot tell is None, and a sentence says why and how to get it.
"""
