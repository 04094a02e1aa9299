"""Tests of the projects feature."""
