"""Images: what a reference means, requests for images, the allow list, repositories and tags.

It speaks to no registry and to no cluster; it says what may run, not what is there.
"""
