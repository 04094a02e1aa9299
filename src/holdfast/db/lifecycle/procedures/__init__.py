"""The stored procedures `cleanup_soft_deleted` and `cleanup_audit_logs` of PostgreSQL and MariaDB (seed 5.1).

Their text is written from the cascade graph. The migrations keep what was written, so that they stay what they were;
a test holds the live procedures against today's graph. Nothing here runs a statement.
"""
