"""What every room needs: reasons, errors, uids, URLs, progress, a process's start and end."""
