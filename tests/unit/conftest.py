"""What all unit tests share."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)  # no test asserts a time: machines are busy
settings.load_profile("patient")
