"""What all packages need: reasons, errors, uids, URLs, progress, how processes start and end."""
