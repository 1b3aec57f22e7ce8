"""Before and beyond one run: what it will take, many of them by one command, one as a file to send round."""
