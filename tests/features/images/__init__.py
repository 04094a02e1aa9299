"""The rules of images."""
