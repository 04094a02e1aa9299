"""The main job of the product from its first start on, as one test."""
