"""The drill: the newest backup restored to a scratch database, looked through, served for a moment, and dropped.

It proves that the backups are worth their name, and tells how much would be lost and how long it would take. Nothing
of the real database is changed but the record of the drill.
"""
