"""`make bench`: how fast and how lean syncd is, next to a bare script and to dlt, in one run on one machine."""
