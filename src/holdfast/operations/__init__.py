"""Work on a whole instance rather than on one noun: backup, drill, transfer, doctor, plan review, and the demo.

It calls the features as any other caller does; it holds no rule of theirs and knows no web and no terminal.
"""
