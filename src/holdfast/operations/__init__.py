"""Work on a whole instance rather than on one noun: filling it for a trial, and later backup, drill and doctor.

It calls the features as any other caller does; it holds no rule of theirs and knows no web and no terminal.
"""
