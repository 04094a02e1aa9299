"""A believable faculty for trying Holdfast out: a month of a dozen courses, lived through the features' own rules.

People, courses and manifests are the same every time. The month ends at the moment of the call; ids and the password
are new.
"""
