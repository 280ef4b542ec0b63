"""The job's rules over the measurements, and each row's verdict."""
