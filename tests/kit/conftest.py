"""A busy machine is no failed property: hypothesis gets no deadline."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
