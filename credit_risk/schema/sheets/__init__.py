"""Files of rows and columns, read as columns of text."""
