"""The audit log: who did what to which object, written in the transaction of the change, and how it is read.

It is the lowest feature, so that every other can record; it knows none of their rules.
"""
