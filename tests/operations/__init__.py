"""Tests of what an operator runs beside the product."""
