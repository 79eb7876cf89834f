"""report.html: what came of a table, to look at."""
