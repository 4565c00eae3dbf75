"""Recipes: faces of the same code under the names that others gave them."""
