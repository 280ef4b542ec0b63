"""What counts as personal data in a text, and how it is hidden where a text is shown."""
