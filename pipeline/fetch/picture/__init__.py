"""From bytes as fetched to an upright sRGB picture of the job's size, its hash and thumbnail.

`decoders` keeps a few processes (`child`), each of which runs `make`: `sniff` reads format and
size, which are compared with the limits, `metadata` reads EXIF and colour profile, `decode` and
`colour` give sRGB pixels, `fingerprints` the hash and thumbnail. `recipe` holds the job's settings.
"""
