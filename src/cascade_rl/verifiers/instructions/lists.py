"""Lists that IFBench's instructions refer to: names, pronouns, stop words, capitals, verbs.

One surprise: `VERBS` and `syllables` stand in for a trained tagger and a dictionary, so that
nothing is downloaded; both are right for what answers really begin with, not for every word.
"""

from __future__ import annotations

import re

PERSON_NAMES = (
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander "
    "Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel "
    "Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David Hannah Christopher "
    "Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"
).split()
PRONOUNS = frozenset(
    "i me we us you he him she her it they them my mine our ours your yours his hers its their "
    "theirs myself ourselves yourself yourselves himself herself itself themselves this that these "
    "those who whom whose which what whoever whomever whatever whichever anybody anyone anything "
    "everybody everyone everything nobody nothing somebody someone something each either neither "
    "both all some any none".split()
)
CONJUNCTIONS = frozenset({"and", "but", "for", "nor", "or", "so", "yet"})
STOP_WORDS = frozenset(
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself "
    "she her hers herself it its itself they them their theirs themselves what which who whom this "
    "that these those am is are was were be been being have has had having do does did doing a an "
    "the and but if or because as until while of at by for with about against between into through "
    "during before after above below to from up down in out on off over under again further then "
    "once here there when where why how all any both each few more most other some such no nor not "
    "only own same so than too very s t can will just don should now d ll m o re ve y ain aren "
    "couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won "
    "wouldn".split()
)
"""English, as word tokens have them: `don't` is `don` and `t`."""
NORTHERN_CAPITALS = (
    "Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin "
    "Amsterdam Warsaw London Brussels Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz "
    "Chisinau Bern Ljubljana Zagreb"
).split()
"""European capitals north of 45 degrees, from north to south."""
PRIMES = frozenset(n for n in range(2, 98) if all(n % k for k in range(2, n)))

# --- verbs ------------------------------------------------------------------------------------

_VERBS = frozenset(
    "accept achieve act adapt add address adjust admit adopt advise affirm agree aim align "
    "allow analyze answer appear apply appreciate approach argue arrange ask assemble assess "
    "assign assist assume attach attend avoid balance be beat become begin believe bend bind "
    "blend boil boost break breathe bring brush build buy calculate call capture care carry "
    "catch celebrate challenge change check choose clarify clean clear climb close collaborate "
    "collect combine come commit communicate compare compile complete compose compute conduct "
    "confirm connect consider construct consult contact contain continue contribute convert "
    "convey cook cover craft create cultivate cut dance deal decide declare dedicate define "
    "delve deliver demonstrate depend derive describe design determine develop dig discover "
    "discuss dive divide do draft draw dream drink drive drop earn eat educate embark embrace "
    "emphasize employ empower enable encourage engage enhance enjoy ensure enter envision "
    "escape establish estimate evaluate examine execute exercise exist expand expect experience "
    "experiment explain explore express extend face fall feel fetch fight fill find finish fix "
    "flow focus fold follow forget forgive form foster gather generate get give glance go grab "
    "grow guess guide handle have hear help hide highlight hold honor hope identify ignore "
    "illustrate imagine implement improve include incorporate increase inform initialize "
    "inspire install integrate introduce invest investigate invite involve join judge jump keep "
    "kick know label laugh launch lead learn leave let leverage limit list listen live locate "
    "look love maintain make manage map master maximize mean measure meet mention minimize mix "
    "modify monitor move multiply navigate need note notice observe obtain offer open operate "
    "optimize order organize overcome pack paint participate pass pause perform pick place plan "
    "plant play please practice prepare present press prevent prioritize proceed produce "
    "promote protect prove provide pull pursue push put question raise reach read realize "
    "recall receive recognize recommend reconsider reduce refer reflect refuse relax release "
    "rely remain remember remind remove repeat replace reply report represent request require "
    "research resolve respect respond rest return reveal review revise ride rise run save say "
    "schedule search seek seem select sell send serve set share shift show simplify simulate "
    "sing sit sleep slice solve sort speak specify spend stand start state stay step stir stop "
    "strengthen study submit suggest summarize support suppose survive swim take talk teach "
    "tell test thank think throw track train transform translate travel treat trust try turn "
    "understand unlock update upgrade use utilize validate verify view visit visualize wait "
    "wake walk want wash watch wear welcome win wish witness wonder work worry write yield".split()
)
_IRREGULAR = frozenset(
    "am are is was were been has had does did done goes went gone got gave given took taken made "
    "said saw seen knew known began begun became came found felt kept left let's met paid put read "
    "sent spent stood thought told understood wrote written built bought brought".split()
)

_NOT_GERUNDS = frozenset(
    "during nothing something anything everything morning evening string".split()
)


def may_be_verb(word: str) -> bool:
    """Whether a word at the start of an answer is a verb, in any of its forms."""
    word = word.lower()
    if word in _IRREGULAR or any(stem in _VERBS for stem in _stems(word)):
        return True
    return len(word) > 5 and word.endswith("ing") and word not in _NOT_GERUNDS


def _stems(word: str) -> list[str]:
    """The word, and what it may be a form of."""
    found = [word]
    for ending in ("ing", "ed", "es", "s", "d"):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            stem = word.removesuffix(ending)
            found += [stem, stem + "e"]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                found.append(stem[:-1])
            if stem.endswith("i"):
                found.append(stem[:-1] + "y")
    return found


# --- syllables and emoji ----------------------------------------------------------------------

_VOWELS = re.compile("[aeiouy]+")
_CONSONANT_Y = re.compile("(?<=[aeiou])y(?=[aeiou])")
_SILENT = re.compile(
    "(?:[^laeiouy]|[aeiouy]l)e$|(?:[^laeiouycgsxzh]|[aeiouy]l)es$|[^aeiouytd]ed$"
    "|[^aeiouyl]e(?=(?:ment|ly|less|ness|ful|ty)s?$)|some(?=[thwob])|every"
)
_APART = re.compile(
    "(?<=[aeouy])i(?=ng)|(?<![cgstx])i(?=ou|a(?!l$|ge))|i(?=al[^s]|u|o(?!n|u))|(?<![ctr])i(?=en[ct])"
    "|(?<=r)i(?=enc)|e(?=a$|as$|o(?!pl|us)|ati|ate|al(?=i|$))|u(?=ou|al|ar|i(?=ty))"
)


def syllables(word: str) -> int:
    """How many syllables an English word in lower case has, by its letters; 0 with a digit."""
    if not word.isalpha():
        return 0
    apart = _CONSONANT_Y.sub("j", word)
    count = len(_VOWELS.findall(apart)) + len(_APART.findall(apart)) - len(_SILENT.findall(apart))
    return max(1, count)


_EMOJI = re.compile(
    "[©®‼⁉™ℹ↔-↙↩↪⌚⌛⌨⏏⏩-⏳⏸-⏺Ⓜ▪▫▶◀◻-◾☀-☄☎☑☔☕☘☝☠☢☣☦☪☮☯☸-☺♀♂♈-♓♟♠♣♥♦♨♻♾♿⚒-⚗⚙⚛⚜⚠⚡⚧⚪⚫⚰⚱⚽⚾⛄⛅"
    "⛈⛎⛏⛑⛓⛔⛩⛪⛰-⛵⛷-⛺⛽✂✅✈-✍✏✒✔✖✝✡✨✳✴❄❇❌❎❓-❕❗❣❤➕-➗➡➰➿⤴⤵⬅-⬇⬛⬜⭐⭕〰〽㊗㊙"
    "\U0001f004\U0001f0cf\U0001f170-\U0001f251\U0001f300-\U0001faff]"
)


def is_emoji(char: str) -> bool:
    """Whether one character is an emoji by itself."""
    return _EMOJI.fullmatch(char) is not None
