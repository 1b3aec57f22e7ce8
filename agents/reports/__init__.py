"""Reports and comparisons of finished runs: figures, tables, films and the pages that hold them."""
