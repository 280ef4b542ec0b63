"""From bytes as fetched to an upright RGB picture of the job's size, its hashes and thumbnail."""
