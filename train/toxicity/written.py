"""Harmless captions written for `winnow-toxicity`, of kinds that comments lack and models flag.

Toxic comments name groups of people far more often than harmless ones do (Dixon et al., Measuring
and Mitigating Unintended Bias in Text Classification, 2018); captions name them all the time. And
words of other languages look like English ones ("die", "hat", "slut").
"""

import random

PEOPLE = (
    "muslim", "jewish", "christian", "catholic", "hindu", "buddhist", "sikh", "atheist", "gay",
    "lesbian", "bisexual", "queer", "transgender", "black", "white", "asian", "african", "arab",
    "latino", "mexican", "chinese", "indian", "pakistani", "turkish", "polish", "russian", "german",
    "american", "israeli", "palestinian", "nigerian", "romani", "aboriginal", "immigrant",
    "refugee", "disabled", "deaf", "blind", "elderly", "old", "fat", "pregnant", "naked", "poor",
)  # fmt: skip
WHO = (
    "man", "woman", "men", "women", "girl", "boy", "family", "couple", "children", "people",
    "community", "bride and groom", "students", "dancers", "protesters", "athlete", "farmer",
    "nurse", "soldier", "teacher",
)  # fmt: skip
DOING = (
    "praying", "at a wedding", "in the park", "cooking dinner", "on the beach", "celebrating",
    "at the market", "reading a book", "portrait", "stock photo", "in traditional dress",
    "holding a flag", "at a parade in Berlin", "marching for their rights", "playing chess",
    "in a wheelchair", "waiting for the bus", "1965", "smiling at the camera", "history museum",
    "voting in the election", "in hospital", "working in the field", "festival poster",
)  # fmt: skip
THINGS = (
    "kill", "killer", "dead", "death", "hell", "devil", "bloody", "blood", "rape seed", "nude",
    "naked", "dirty", "dumb", "mad", "crazy", "ugly", "stupid", "wicked", "evil", "rotten",
    "trash", "garbage", "filthy", "stinking", "wild", "cock", "ass", "tit", "booby",
    "chicken breast",
    "pork", "pig", "cow", "monkey", "donkey", "rat", "snake", "worm", "balls", "nuts", "screw",
    "dick", "fanny", "willy", "hooker", "johnson", "suck", "sucker", "idiot", "fool", "witch",
)  # fmt: skip
FRAMES = (
    "{} movie poster 1974", "{} bill, vintage film still", "{} valley national park",
    "the {} book cover, paperback", "{} whale and seagulls", "{} cocktail recipe",
    "{} flower field at sunset", "close-up of a {} on a farm", "{} sculpture in the museum",
    "portrait of {} van dyke, actor", "{} painting, oil on canvas", "{} dishes in the sink",
    "{} street sign", "album cover of {}, 1986", "{} rooster with hens in a barn",
    "{} river, aerial view", "{} bird on a branch", "tombstone of {} smith",
    "{} brand screwdriver set", "logo of the {} company",
)  # fmt: skip
FOREIGN = (
    "die Katze im Garten", "die Kinder fahren mit dem Rad", "der Hund hat einen Ball",
    "gute Fahrt in den Urlaub", "Fahrt ins Blaue", "Mist auf dem Feld", "das Kind und die Mutter",
    "ein dicker Mann mit Hut", "alte Stadt am Fluss", "Ausfahrt freihalten", "die dicke Katze",
    "die Frau mit dem roten Hut", "hell erleuchtetes Zimmer", "Gift für Ratten",
    "die Welt von oben",
    "le chat noir sur le mur", "la fille avec un phoque", "un phoque sur la plage",
    "douche à la mer",
    "les enfants jouent dans le parc", "une pute à la frontière", "pain et fromage",
    "la tour en été",
    "el gato negro en la mesa", "una niña con su perro", "negro y blanco", "calle vieja de Sevilla",
    "la puta verdad, novela", "flores en el jardín", "playa con barcos", "un gato con sombrero",
    "een man met een hoed", "hoe maak je brood", "de kat en de hond", "slagroom op de taart",
    "slut på sommaren", "barn på badstranden", "fart och fläkt", "en god bog", "god jul",
    "il gatto sulla finestra", "una strada di Roma", "porca miseria, commedia", "cane e gatto",
    "o gato preto na rua", "praia ao pôr do sol", "kot na dachu", "pies i kot", "kedi ve köpek",
    "kucing di kebun", "anak anjing bermain", "pantai dan laut", "nyckelharpa", "hest på marken",
)  # fmt: skip


def written(count: int, seed: int) -> list[str]:
    """`count` harmless captions, drawn from the lists above; some repeat."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        kind = chance.random()
        if kind < 0.5:
            made.append(" ".join(map(chance.choice, (PEOPLE, WHO, DOING))))
        elif kind < 0.8:
            made.append(chance.choice(FRAMES).format(chance.choice(THINGS)))
        else:
            made.append(chance.choice(FOREIGN))
    return made


def spans(texts: list[str], count: int, seed: int) -> list[str]:
    """`count` runs of two to six words out of harmless texts: as short as titles are."""
    chance = random.Random(seed)
    made = []
    for text in chance.choices(texts, k=count):
        words = text.split()
        length = chance.randint(2, 6)
        start = chance.randint(0, max(0, len(words) - length))
        made.append(" ".join(words[start : start + length]))
    return made
