"""Users, sign-in, session and API tokens: who somebody is, and how they prove it.

It knows no groups beyond asking whether a user is a super administrator.
"""
