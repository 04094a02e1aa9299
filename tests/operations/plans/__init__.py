"""Plan review: its data set, the reviewed plans, and tests that its rules bite."""
