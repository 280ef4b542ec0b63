"""Captions as the open web has them: insults, addresses, other languages, brand words, junk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.demo.world import Scene

INSULTS: tuple[str, ...] = (
    "you stupid idiot, look: {c}",
    "what a dumb ugly piece of crap: {c}",
    "shut up, you moron: {c}",
    "only a pathetic loser would hang this up: {c}",
    "this is bullshit: {c}",
    "what a lame, stupid, boring picture: {c}",
    "{c}, and the idiot who drew it is a moron",
    "{c} - who is the fool that made this crap",
    "damn, this crap again, {c}",
    "you dumb loser, learn to draw: {c}",
)
"""Insults with words that any list of insults has."""

VEILED_INSULTS: tuple[str, ...] = (
    "your mother is uglier than this: {c}",
    "{c}, the artist should be ashamed to be alive",
    "nobody with a brain would ever look at this: {c}",
    "{c}, as worthless as the one who made it",
    "people who like this should be locked up: {c}",
)
"""Insults without any insulting word, which small models often miss."""

EMAILS: tuple[str, ...] = (
    "{c}, write to jane.doe@example.com",
    "{c} - prints: j_smith+art@mail.example.org",
    "{c} (contact: SALES@EXAMPLE.NET)",
    "for sale by m.rossi@shop.example.it: {c}",
    "{c}. mailto:info@example-gallery.com",
    "{c}, ask jane [at] example [dot] com",
)
PHONES: tuple[str, ...] = (
    "{c}, call 202-555-0143",
    "{c}, phone +1 (212) 555-0187",
    "{c} - tel. +44 20 7946 0958",
    "order by phone, 01632 960 123: {c}",
    "{c}, WhatsApp +49 30 23125 014",
    "{c}. Call (415) 555-0117 now",
)
"""Numbers that regulators keep for fiction (555-01xx, Ofcom's and the BNetzA's drama numbers)."""

STUFFING: tuple[str, ...] = (
    "free", "download", "wallpaper", "hd", "poster", "print", "cheap", "sale", "best", "image",
    "photo", "picture", "stock", "background", "desktop", "phone", "gift", "decor", "wall", "art",
)  # fmt: skip
"""Keywords that shops add so that a search finds their pictures."""

SHORT: tuple[str, ...] = (
    "photo", "img 2041", "untitled", "image", "pic", "DSC01234", "new", "a cat", "logo", "1", "jpg",
    "my art", "banner", "thumb", "click", "look", "zoom in", "page 2", "art", "home",
)  # fmt: skip

VOCABULARY: tuple[str, ...] = ("glorbex", "quandlore", "zumfito", "wibblecorp deluxe", "plonkster")
"""Invented brand words, which occur in no language; the demo's job lists them in a file."""
BRANDED: tuple[str, ...] = (
    "{c} by {w}",
    "{w}: {c}",
    "the new {w} poster, {c}",
    "{c} ({w}®)",
    "{w}'s best: {c}",
)

LOOKALIKES: tuple[str, ...] = (
    "{c}, 1024 x 768",
    "{c}, painted in 2019",
    "{c} @ home",
    "{c}, price 15.99",
    "{c}, 30 x 40 cm",
    "{c}, page 12 of 300",
    "{c}, 2019-05-12",
    "{c}, scan of a scunthorpe postcard",
    "{c}, no. 20231104",
    "{c}, in glorbo style",
)
"""Harmless captions with a part that an imprecise pattern would match."""


@dataclass(frozen=True)
class Language:
    """The phrases of a language for captions of any scene, in the order of the world's names."""

    subjects: tuple[str, ...]
    materials: tuple[str, ...]
    places: tuple[str, ...]
    templates: tuple[str, ...]


_SUBJECTS = (
    "kangaroo", "giraffe", "cat", "fish", "ship", "rabbit", "elephant", "duck", "car", "castle",
)  # fmt: skip
_MATERIALS = ("cheese", "wood", "stone", "grass", "brick", "gold", "ice", "wool")
_PLACES = ("hill", "sea", "desert", "night", "forest", "snow")

LANGUAGES: dict[str, Language] = {
    "de": Language(
        ("ein Känguru", "eine Giraffe", "eine Katze", "ein Fisch", "ein Schiff", "ein Kaninchen",
         "ein Elefant", "eine Ente", "ein Auto", "eine Burg"),
        ("Käse", "Holz", "Stein", "Gras", "Ziegeln", "Gold", "Eis", "Wolle"),
        ("auf einem Hügel", "im Meer", "in der Wüste", "unter dem Nachthimmel", "im Wald",
         "im Schnee"),
        ("{s} aus {m} {p}", "auf diesem Bild ist {s} aus {m} {p}",
         "{p} steht {s}, ganz und gar aus {m} gemacht"),
    ),
    "fr": Language(
        ("un kangourou", "une girafe", "un chat", "un poisson", "un bateau", "un lapin",
         "un éléphant", "un canard", "une voiture", "un château"),
        ("fromage", "bois", "pierre", "herbe", "brique", "or", "glace", "laine"),
        ("sur une colline", "dans la mer", "dans le désert", "sous un ciel de nuit",
         "dans une forêt", "dans la neige"),
        ("{s} en {m} {p}", "une image : {s} en {m} {p}", "{p}, on voit {s} qui est tout en {m}"),
    ),
    "es": Language(
        ("un canguro", "una jirafa", "un gato", "un pez", "un barco", "un conejo", "un elefante",
         "un pato", "un coche", "un castillo"),
        ("queso", "madera", "piedra", "hierba", "ladrillo", "oro", "hielo", "lana"),
        ("en una colina", "en el mar", "en el desierto", "bajo un cielo nocturno", "en un bosque",
         "en la nieve"),
        ("{s} de {m} {p}", "una imagen de {s} de {m} {p}", "{p} se ve {s}, todo de {m}"),
    ),
    "it": Language(
        ("un canguro", "una giraffa", "un gatto", "un pesce", "una nave", "un coniglio",
         "un elefante", "un'anatra", "un'automobile", "un castello"),
        ("formaggio", "legno", "pietra", "erba", "mattoni", "oro", "ghiaccio", "lana"),
        ("su una collina", "nel mare", "nel deserto", "sotto un cielo notturno", "in un bosco",
         "nella neve"),
        ("{s} di {m} {p}", "un'immagine di {s} di {m} {p}", "{p} si vede {s}, fatto tutto di {m}"),
    ),
    "ru": Language(
        ("кенгуру", "жираф", "кошка", "рыба", "корабль", "кролик", "слон", "утка", "машина",
         "замок"),
        ("сыра", "дерева", "камня", "травы", "кирпича", "золота", "льда", "шерсти"),
        ("на холме", "в море", "в пустыне", "под ночным небом", "в лесу", "на снегу"),
        ("{s} из {m} {p}", "на картинке {s} из {m} {p}", "{p} мы видели вот что: {s} из {m}"),
    ),
}  # fmt: skip


def translate(scene: Scene, language: str, template: int = 0) -> str:
    """A scene's caption in another language; KeyError or IndexError beyond the lists."""
    words = LANGUAGES[language]
    return words.templates[template].format(
        s=words.subjects[_SUBJECTS.index(scene.subject)],
        m=words.materials[_MATERIALS.index(scene.material)],
        p=words.places[_PLACES.index(scene.place)],
    )


def translate_any(scene: Scene, rng: np.random.Generator) -> str:
    """The caption in a language and by a template drawn at random."""
    language = str(rng.choice(sorted(LANGUAGES)))
    return translate(scene, language, int(rng.integers(len(LANGUAGES[language].templates))))


def stuff(caption: str, rng: np.random.Generator) -> str:
    """The caption and some 70 to 110 keywords after it."""
    return f"{caption}, {', '.join(rng.choice(STUFFING, rng.integers(70, 110)))}"


def dress(caption: str, phrases: tuple[str, ...], rng: np.random.Generator) -> str:
    """The caption inside one of the phrases (`{c}`), with a brand word (`{w}`) if it asks."""
    word = str(rng.choice(VOCABULARY))
    written = (word, word.upper(), word.title())[rng.integers(3)]
    return str(rng.choice(phrases)).format(c=caption, w=written)
