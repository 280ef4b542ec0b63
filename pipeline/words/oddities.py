"""What is wrong with a picture that is stored all the same: the words of `decode_warnings`."""

END_MISSING = "end_missing"
BYTES_AFTER_END = "bytes_after_end"
EXTRA_BYTES = "extra_bytes"
DATA_CUT = "data_cut"
DATA_DAMAGED = "data_damaged"
CHECKSUM_WRONG = "checksum_wrong"
CHUNK_BROKEN = "chunk_broken"
HEADER_ODD = "header_odd"
PROFILE_BROKEN = "profile_broken"
EXIF_BROKEN = "exif_broken"

WORDS = {
    END_MISSING: "the mark of the end is missing (JPEG's EOI, PNG's IEND, GIF's trailer)",
    BYTES_AFTER_END: "bytes follow the end",
    EXTRA_BYTES: "bytes that belong to nothing stand before one of a JPEG's markers",
    DATA_CUT: "at most 1 % of the pixels are missing at the end",
    DATA_DAMAGED: "the coded pixels are damaged, so that some may be wrong",
    CHECKSUM_WRONG: "a PNG chunk's checksum is wrong; if the chunk is ancillary it was left out",
    CHUNK_BROKEN: "an ancillary PNG chunk is malformed and was left out",
    HEADER_ODD: "a field of the header cannot be right (JFIF's version, a scan's parameters, "
    "RIFF's size, GIF's screen)",
    PROFILE_BROKEN: "the colour profile cannot be used: the values are taken for sRGB",
    EXIF_BROKEN: "the EXIF block cannot be read: the picture is taken for upright",
}
