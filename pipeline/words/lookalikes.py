"""Letters that look like those of another script (Unicode Technical Standard 39).

The pairs are those of its table of confusable characters (Unicode licence v3) that look the same
in common typefaces, for the scripts with which Latin words are disguised, and one way back.
"""

_PAIRS = """
    аa АA бb вb ВB еe ЕE ёe зz іi ІI їi јj ЈJ кk КK мm МM нh НH оo ОO пn рp РP сc СC тt ТT уy УY
    хx ХX ѕs ЅS ԁd ԛq ԜW ԝw ѵv ѴV ӏl ҮY үy һh гr
    αa ΑA βb ΒB εe ΕE ηn ΗH ιi ΙI κk ΚK ΜM νv ΝN οo ΟO ρp ΡP τt ΤT υu ΥY χx ΧX ωw ΖZ γy σo
    օo ոn սu հh ցg ՕO ՍU ᎪA ᏴB ᏟC ᎠD ᎬE ᎻH ᎥI ᎫJ ᏦK ᏞL ᎷM ᏃZ ᏢP ᏒR ᏚS ᎢT ᏙV ᎳW
    ɑa ɡg ɩi ʟl ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ɢg ʜh ɪi ᴊj ᴋk ᴍm ɴn ᴏo ᴘp ʀr ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz
"""
"""Cyrillic; Greek; Armenian and Cherokee; Latin letters of phonetic alphabets; each
with the letter that it looks like."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SIGNS = {
    start + i: letter for start in (0x1F150, 0x1F170, 0x1F1E6) for i, letter in enumerate(_LETTERS)
}
"""White letters in black circles and squares, and regional indicators."""
TO_LATIN: dict[int, str] = _SIGNS | {ord(pair[0]): pair[1].lower() for pair in _PAIRS.split()}
"""For str.translate: what looks like a Latin letter, to that letter."""
TO_CYRILLIC: dict[int, str] = {
    ord(latin): cyrillic
    for latin, cyrillic in zip("aeopcyxkmtbhijs", "аеорсухкмтвніјѕ", strict=True)
}
"""For str.translate: small Latin letters that look like Cyrillic ones, to those."""
