"""Applications: their attributes and meanings, and the validation of files and lists of them."""
