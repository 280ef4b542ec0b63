"""Numbers of bytes as people read them."""


def size(value: float) -> str:
    """Bytes as text, in powers of 1,000."""
    if value < 1000:
        return f"{value:,.0f} B"
    units = iter(("kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    value /= 1000
    while value >= 1000 and unit != "PB":
        value, unit = value / 1000, next(units)
    return f"{value:,.1f} {unit}"
