"""The product's tests, at the boundary people rely on: REST and CLI first, services for branches, real databases."""
