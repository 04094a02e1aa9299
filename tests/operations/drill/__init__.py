"""Tests of the drill: what it proves, and what raises its doubts."""
