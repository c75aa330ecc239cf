"""The engine: when to pull, how a page becomes rows, what happens to work that failed. No HTTP and no SQL in here."""
