"""The doctor: healthy instances, and faults that tests plant."""
