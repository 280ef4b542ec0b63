"""What is measured of a row. A new measurement is one new module in this package."""
