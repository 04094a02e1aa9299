"""Config files: YAML text of a project, and the Kubernetes resources that it holds.

`manifests.parse_manifests` turns a text into resources or into a list of what is wrong with it; that part is pure: no
database, no files, no cluster. Nothing here may run a workload, and no text may raise anything but `ManifestError`.
"""
