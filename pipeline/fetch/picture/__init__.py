"""From bytes as fetched to an upright sRGB picture of the job's size, its hash and thumbnail.

`decoders` keeps a few processes (`child`), each of which runs `make`: `sniff` the format and size,
hold them against the limits, read what rides beside the pixels (`metadata`), `decode` them into
sRGB (`colour`), and take the `fingerprints`. `recipe` holds the job's settings.
"""
