"""The driver for a partner described in its own configuration file, under `rest:`."""
