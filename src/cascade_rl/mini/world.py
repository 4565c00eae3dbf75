"""What there is to talk about: topics, three facts each, and the sentences that join them.

Chat and instruction following share it, so the tiny model learns one language, not two.
"""

from __future__ import annotations

import random

FACTS: dict[str, tuple[str, str, str]] = {
    "cat": ("fur", "milk", "claws"),
    "dog": ("bone", "tail", "walk"),
    "sea": ("salt", "waves", "ship"),
    "sun": ("heat", "light", "noon"),
    "moon": ("night", "tide", "crater"),
    "tree": ("leaf", "root", "bark"),
    "car": ("wheel", "road", "engine"),
    "farm": ("barn", "corn", "cow"),
    "school": ("class", "desk", "test"),
    "king": ("crown", "throne", "castle"),
    "snow": ("ice", "cold", "winter"),
    "bird": ("wing", "nest", "song"),
    "bread": ("flour", "oven", "crust"),
    "train": ("rail", "station", "ticket"),
    "garden": ("rose", "soil", "bee"),
    "city": ("street", "tower", "crowd"),
    "river": ("bank", "bridge", "boat"),
    "music": ("drum", "note", "band"),
    "doctor": ("nurse", "pill", "ward"),
    "desert": ("sand", "camel", "dust"),
    "clock": ("hour", "hand", "alarm"),
    "forest": ("wolf", "moss", "path"),
    "house": ("door", "roof", "room"),
    "storm": ("rain", "wind", "thunder"),
}
TOPICS = tuple(FACTS)

PLAIN = ("The {t} has {f}.",)
COMMAS = ("At the {t}, I see {f}.",)
FILLERS = ("That is so good.", "I think so.")


def sentence(rng: random.Random, topic: str, word: str, commas: bool = True) -> str:
    """One sentence that names a topic and a word."""
    return rng.choice(PLAIN + COMMAS if commas else PLAIN).format(t=topic, f=word)
