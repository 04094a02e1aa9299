"""Backups: the whole database and its recovery bundles, of one moment, in a store; checked, restored, let go again.

`creating`, `verifying`, `restoring` and `retention` are what others call; `stores` knows where bytes lie, `engines` the
tools of each database. A backup exists once its manifest does, which is written last. Nothing here knows the web or a
terminal.
"""
