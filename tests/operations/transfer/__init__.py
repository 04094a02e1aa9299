"""Tests of exports and imports of whole instances."""
