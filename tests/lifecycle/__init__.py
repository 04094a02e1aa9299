"""Tests of deletion as a whole: against a model, killed at every statement, and with many callers at once."""
