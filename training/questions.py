"""Questions and answers made from the captions of a picture by rules.

The kinds are those of COCO-QA (Ren et al., "Exploring Models and Data for Image Question
Answering", NeurIPS 2015): object, number, colour and place; added are what somebody is
doing and yes/no questions with balanced answers. What COCO-QA takes from one caption is
asked here only if two of the picture's five writers agree on it; a "no" needs that nobody
wrote the word, a kind of it, what it is a kind of, or a hint of it.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

KINDS = ("yes/no", "number", "colour", "object", "action", "place")


class Question(NamedTuple):
    """A question about a picture; each of `answers` is right."""

    picture: str
    kind: str
    text: str
    answers: tuple[str, ...]


def _table(text: str) -> dict[str, list[str]]:
    """`answer: word word` lines; a line without words stands for itself and its plural."""
    table = {}
    for line in _lines(text):
        answer, _, words = line.partition(":")
        table[answer] = words.split() or [answer, _plural(answer)]
    return table


def _lines(text: str) -> list[str]:
    """The lines of a table; an indented one goes on with the one before."""
    return re.sub(r"\n +", " ", text).strip().splitlines()


def _plural(noun: str) -> str:
    if re.search(r"(s|x|ch|sh)$", noun):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"


PEOPLE = _table("""
man: man men guy guys gentleman gentlemen
woman: woman women lady ladies
boy
girl
child: child children kid kids toddler toddlers
baby: baby babies infant
person: person people someone adult adults player players rider riders biker bikers surfer skier
    skiers snowboarder skateboarder climber climbers hiker hikers cyclist cyclists bicyclist
    crowd teenager teenagers others couple team family group swimmer racer runner runners
    wrestler goalie
""")
ANIMALS = _table("""
dog: dog dogs puppy puppies greyhound greyhounds poodle terrier retriever collie bulldog hound
    husky dalmatian dachshund labrador
cat: cat cats kitten kittens
horse
bird: bird birds seagull seagulls pigeon pigeons goose geese
duck
cow: cow cows bull
sheep: sheep lamb
fish
goat
""")
THINGS = _table("""
ball
stick
frisbee: frisbee frisbees disc
toy
bicycle: bicycle bicycles bike bikes
motorcycle: motorcycle motorcycles motorbike motorbikes
skateboard
surfboard
snowboard
skis
sled
scooter
car
truck
bus
train
boat: boat boats canoe canoes kayak kayaks raft sailboat
hat: hat hats cap beanie
helmet
shirt
jacket: jacket jackets coat coats
dress
shorts: shorts
pants: pants jeans trousers
skirt
sunglasses: sunglasses
glasses: glasses
umbrella
guitar
camera
book
flag
bench
chair
table
sofa: sofa couch
bed
swing
slide
rope
fence
tree
flowers: flower flowers
rock: rock rocks boulder boulders
wall
building
bridge
sign
trampoline
tent
bag: bag bags backpack backpacks purse
bottle
cup
phone: phone cellphone telephone
microphone
balloon
bucket
ramp
stairs: stairs steps staircase
cigarette
collar
leash
costume
uniform
swimsuit: swimsuit bikini trunks
mask
racket: racket racquet
bat
hoop
obstacle: obstacle obstacles hurdle hurdles
tire
log
""")
PLACES = _table("""
beach: beach shore seashore
street: street streets road roads
sidewalk
park
playground
snow: snow
water: water
grass: grass lawn
field
pool
ocean: ocean sea
lake: lake pond
river: river stream creek
mountain: mountain mountains mountainside
hill: hill hills hillside
forest: forest woods
city: city town
sand: sand
dirt: dirt
desert
track: track racetrack
yard: yard backyard
stage
store: store shop market
restaurant
room
kitchen
ice: ice
""")
NOUNS = PEOPLE | ANIMALS | THINGS | PLACES

# What else makes a thing likely although nobody wrote it: then "is there one?" is not asked.
HINTS = _table("""
ball: soccer football basketball baseball tennis volleyball rugby softball golf cricket toy
    goalie pitcher game
bicycle: biker cyclist cyclists bicyclist bicyclists bmx biking cycling wheelie motorcycle
    motorbike
motorcycle: motocross motorcyclist bike bikes biker bikers dirtbike rider racing
skateboard: skateboarder skateboarders skateboarding skate skater ramp
surfboard: surfer surfers surfing surf surfs wave waves board
snowboard: snowboarder snowboarders snowboarding board
skis: skier skiers skiing ski
sled: sledding sledge
car: vehicle vehicles cars street road traffic race racing parking taxi jeep suv
truck: vehicle vehicles jeep van
boat: paddling rowing rafting sailing kayaking canoeing kayaker ship
hat: helmet hats headband hood cowboy santa
helmet: bike biker cyclist football baseball hockey motorcycle hat climbing racing player
    players
shirt: shirt tshirt top jersey jerseys sweater sweatshirt clothes clothing dressed uniform
    outfit wearing
jacket: sweater sweatshirt hoodie winter clothes clothing suit outfit vest
dress: dressed skirt gown bride costume outfit
shorts: trunks clothes clothing uniform outfit
pants: clothes clothing uniform outfit suit
skirt: dress dressed outfit
sunglasses: glasses goggles shades
glasses: sunglasses goggles
guitar: band music instrument instruments musician
tree: woods forest park wooded log branch branches leaves garden yard path trail grass
fence: gate railing yard fenced
rock: rocky cliff mountain mountains stone stones climbing climber climbs beach
wall: building brick graffiti
building: street city house store buildings town
grass: grassy field lawn park yard green
field: grass grassy lawn soccer football baseball
snow: snowy skier skiing ski sled snowboard snowboarder snowboarding winter ice
water: ocean lake river pool sea beach wave waves surfer surfing swim swimming swims wet splash
    splashing splashes pond stream fountain creek puddle boat kayak raft canoe shore
beach: sand sandy ocean sea shore surf surfing surfer wave waves
ocean: sea beach wave waves surf surfing surfer water shore
lake: pond water river
river: stream creek water lake
pool: swimming swim swims water
sand: beach sandy desert dune dirt
street: road sidewalk city car cars traffic pavement
sidewalk: street city road pavement
park: grass field playground bench yard
playground: slide swing park swings
mountain: mountains hill cliff hiking hiker hikers climbing climber snowy rocky slope
hill: mountain mountains slope hillside
forest: wooded tree trees trail jungle
city: street urban building buildings
dirt: mud muddy ground track road path trail bmx motocross
toy: ball stuffed frisbee object something stick
stick: branch log bat wood object something
frisbee: disc toy object something
bag: backpack luggage hiker hikers
chair: seat sitting bench table
bench: seat sitting chair
table: eating dinner restaurant desk
collar: leash dog dogs
leash: dog dogs collar
uniform: player players team soccer football baseball game police
costume: dressed outfit
swimsuit: swimming pool bathing trunks beach
obstacle: jump jumps jumping bar course
stairs: step
log: tree stick wood branch
yard: grass lawn garden house
ice: hockey skating skate snow rink
""")
COLOURS = _table("""
black: black
white: white
brown: brown
red: red
blue: blue
green: green
yellow: yellow
orange: orange
pink: pink
purple: purple
gray: gray grey
tan: tan beige
silver: silver
""")
# One person's brown is another's tan: not asked where the like of it was written.
ALIKE = (
    {"brown", "tan", "orange", "yellow"},
    {"gray", "silver", "white"},
    {"orange", "red", "pink"},
)
NUMBERS = {
    word: str(n)
    for n, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight"], 1)
} | {str(n): str(n) for n in range(1, 9)}
SPORTS = _table("""
soccer: soccer
football: football
basketball: basketball
baseball: baseball softball
tennis: tennis
volleyball: volleyball
hockey: hockey
rugby: rugby
skateboarding: skateboarding skateboard skateboarder skateboards
surfing: surfing surfboard surfer surfs
skiing: skiing skis skier skiers
snowboarding: snowboarding snowboard snowboarder
cycling: bmx cyclist cyclists bicyclist bicyclists biker bikers
climbing: climber climbers
wrestling: wrestling wrestlers wrestler
""")
VEHICLES = ("bicycle", "motorcycle", "car", "truck", "bus", "train", "boat", "scooter", "sled")
CLOTHES = [
    "hat",
    "helmet",
    "shirt",
    "jacket",
    "dress",
    "shorts",
    "pants",
    "skirt",
    "sunglasses",
    "glasses",
    "costume",
    "uniform",
    "swimsuit",
    "mask",
]


def _forms(verb: str) -> tuple[str, list[str]]:
    """The -ing form of a verb, and all the forms that captions use."""
    stem = verb[:-1] if re.search(r"[^e]e$", verb) else verb
    if verb in ("run", "swim", "sit", "dig", "hug", "hop"):
        stem += verb[-1]
    third = verb + "es" if re.search(r"(s|x|ch|sh)$", verb) else _plural(verb)
    return stem + "ing", [stem + "ing", third, verb]


ACTIONS = dict(
    _forms(verb)
    for verb in [
        "run",
        "jump",
        "swim",
        "play",
        "sit",
        "stand",
        "walk",
        "ride",
        "climb",
        "smile",
        "race",
        "pose",
        "sleep",
        "eat",
        "fly",
        "dance",
        "fight",
        "talk",
        "slide",
        "splash",
        "swing",
        "throw",
        "catch",
        "skateboard",
        "ski",
        "surf",
        "snowboard",
        "fish",
        "drink",
        "read",
        "laugh",
        "hike",
        "kick",
        "wrestle",
        "bite",
        "shake",
        "dive",
        "hug",
        "skate",
        "dig",
        "pull",
    ]
) | {
    "jumping": ["jumping", "jumps", "jump", "leaping", "leaps", "leap"],
    "lying down": ["laying", "lying", "lays", "lies"],
    "chasing": ["chasing", "chases", "chase"],
    "fighting": ["fighting", "fights", "fight", "wrestling", "wrestle"],
}
del ACTIONS["wrestling"]
# Somebody on a surfboard stands, rides and jumps too: "no" is said only between these.
EXCLUSIVE = (
    "running",
    "swimming",
    "sitting",
    "sleeping",
    "climbing",
    "eating",
    "standing",
    "walking",
)

GENERAL = {"person": [*PEOPLE], "child": ["boy", "girl", "baby", "child"], "animal": [*ANIMALS]}
MASS = {"snow", "water", "grass", "sand", "dirt", "ice", "stairs", "flowers", "sunglasses"} | {
    "glasses", "shorts", "pants", "skis", "sheep", "fish"
}  # fmt: skip

_PLURALS = {"person": "people", "man": "men", "woman": "women", "child": "children"} | {
    noun: noun for noun in MASS
}

_NOUN_OF = {word: noun for noun, words in NOUNS.items() for word in words}
_ACTION_OF = {word: action for action, words in ACTIONS.items() for word in words}
_COLOUR_OF = {word: colour for colour, words in COLOURS.items() for word in words}
_ACTORS = PEOPLE | ANIMALS
_HOLD = _table("""
holding: holding holds
wearing: wearing wears
riding: riding rides
carrying: carrying carries
throwing: throwing throws
catching: catching catches
chasing: chasing chases
kicking: kicking kicks
jumping over: jumping jumps leaping leaps
sitting on: sitting sits
""")
_HOLD_OF = {word: verb for verb, words in _HOLD.items() for word in words}

# Ways to ask, parted by slashes. `s` is who or what is asked about, `v` what it does to a thing.
_TEMPLATES = """
presence: is there {a} {x} in the picture / is there {a} {x} / can you see {a} {x} / do you see
    {a} {x} in this photo / does the picture show {a} {x} / is {a} {x} visible / are there any
    {xs} / is there any {x} here / do you see any {xs} / {a} {x} / is this {a} {x}
worn?: is anyone wearing {a} {x} / does anybody wear {a} {x} / is somebody wearing {a} {x}
doing?: is the {s} {x} / is {x} what the {s} is doing / is anyone {x} / is somebody {x} here
coloured?: is the {s} {x} / is there {a} {x} {s} / does the {s} look {x}
number: how many {xs} are there / how many {xs} are in the picture / how many {xs} can you see /
    how many {xs} do you see in this photo / how many {xs} / what is the number of {xs} / count
    the {xs}
colour: what color is the {s} / what is the color of the {s} / which color is the {s} / what
    color {s} is it / tell me the color of the {s} / what color of {s} is this / the {s} is what
    color / what color
who: who is in the picture / who is this / who do you see / who is there / what kind of person
    is this / who is shown here / who is in this photo
what: what is this / what is that / what is it / what is in the picture / what is in this photo
    / what do you see / what can you see / what is shown here / what is here / what object is
    this / what is the main object / what thing is this / what am i looking at / name this /
    what is the object in this picture / what is on the picture / identify the object
animal: what animal is this / what animal / what animal is in the picture / which animal is it /
    what kind of animal is this / what animals do you see / what type of animal is shown / which
    animal do you see / what animal is that / name the animal / what pet is this / what is the
    animal in the picture / what animals are there
which: is it {a} {x} or {b} {y} / is this {a} {x} or {b} {y} / {x} or {y} / do you see {a} {x}
    or {b} {y} / is the animal {a} {x} or {b} {y} / is there {a} {x} or {b} {y} in the picture
room: what is in this room / what is in the room / what objects are in the room / what furniture is
    there / what do you see in this room / what is found in the room / name an object in the room
food: what food is this / what kind of food is this / what food do you see / what can i eat here
    / which fruit or vegetable is this / what dish is it
vehicle: what vehicle is this / what vehicle do you see / what kind of vehicle is in the picture
    / which vehicle is it / what is the vehicle
mouth: what does the {s} have in its mouth / what is in the mouth of the {s} / what is the {s}
    holding in its mouth / what is the {s} carrying in its mouth
held: what is the {s} {v} / what is the {s} {v} here / what are they {v} / what is being {v} /
    tell me what the {s} is {v}
sport: what sport is this / what sport are they playing / which sport is it / what sport is
    being played / what game is this / what kind of sport do you see
action: what is the {s} doing / what is the {s} doing in the picture / what does the {s} do /
    what is this {s} doing / what action is the {s} performing / what is happening / what is
    going on / what are they doing / what is the {s} up to
place: where is the {s} / where is this / where was this picture taken / where are they / what
    place is this / where is the {s} standing / where was the photo taken / where does this take
    place / what is the location / where is it / where are we
"""
TEMPLATES = {
    name: ways.strip().split(" / ")
    for name, _, ways in (line.partition(":") for line in _lines(_TEMPLATES))
}


def ask(template: str, rng: random.Random, **parts: str) -> str:
    """A question from one of the templates, worded a little differently each time.

    Args:
        template: A key of `TEMPLATES`.
        rng: Source of the choice.
        parts: What stands in the braces; `a` and `xs` follow from `x`, `b` from `y`.

    Returns:
        Lower case, without a question mark: the model's own reading of a question drops both.
    """
    x, y = parts.get("x", ""), parts.get("y", "")
    derived = {"a": _article(x), "b": _article(y), "xs": _PLURALS.get(x) or _plural(x)}
    return reword(rng.choice(TEMPLATES[template]).format(**derived | parts), rng)


def _article(noun: str) -> str:
    return "some" if noun in MASS else "an" if noun[:1] in tuple("aeiou") else "a"


_REWORDINGS = (
    (r"\bcolor\b", ("color", "colour")),
    (r"\b(picture|photo)\b", ("picture", "photo", "image", "pic", "photograph")),
    (r"^(what|who|where) is\b", (r"\1 is", r"\1 is", r"\1s", r"\1's")),
    (r"\bperson\b", ("person", "human")),
    (r"\bbicycle\b", ("bicycle", "bike")),
    (r"\bsofa\b", ("sofa", "couch")),
    (r"\bgray\b", ("gray", "grey")),
    (r"\brefridgerator\b", ("refridgerator", "refrigerator", "fridge")),
    (r"\b(the|a) (?=\w+$)", (r"\1 ", r"\1 ", r"\1 ", "")),
    (r"$", ("",) * 30 + (" please", " here")),
    (r"^", ("",) * 60 + ("so ", "please tell me ", "hey ", "ok ")),
)


def reword(text: str, rng: random.Random) -> str:
    """The same question in other words: spelling variants, left-out articles, politeness."""
    for pattern, choices in _REWORDINGS:
        text = re.sub(pattern, rng.choice(choices), text)
    return text


class _Caption(NamedTuple):
    words: list[str]
    nouns: dict[str, int]  # canonical noun -> position of its first mention


def _read(caption: str) -> _Caption:
    words = re.findall(r"[a-z0-9]+", caption.lower().replace("t-shirt", "shirt"))
    nouns = {}
    for position, word in enumerate(words):
        if word in _NOUN_OF:
            nouns.setdefault(_NOUN_OF[word], position)
    return _Caption(words, nouns)


def questions(picture: str, captions: Sequence[str], rng: random.Random) -> list[Question]:
    """All questions but yes/no that two writers of the picture's captions agree on.

    Args:
        picture: Its name, repeated in the result.
        captions: What people wrote about it, in English.
        rng: Source of the wording.

    Returns:
        Up to a dozen questions of different kinds.
    """
    read = [_read(caption) for caption in captions]
    found = [
        *_numbers(read, rng), *_colours(read, rng), *_objects(read, rng), *_actions(read, rng),
        *_places(read, rng),
    ]  # fmt: skip
    return [Question(picture, *item) for item in found]


def _agreed(counter: Mapping[str, int], least: int = 2) -> tuple[str, ...]:
    return tuple(sorted(key for key, count in counter.items() if count >= least))


_Item = tuple[str, str, tuple[str, ...]]  # kind, text, answers
_Key = tuple[str, str, str]  # template, subject, word


def _mentions(read: Sequence[_Caption]) -> Counter:
    return Counter(noun for caption in read for noun in caption.nouns)


def _subject(caption: _Caption) -> str | None:
    """The person or animal named first: who acts in an English caption."""
    actors = {noun: place for noun, place in caption.nouns.items() if noun in _ACTORS}
    return min(actors, key=actors.get, default=None)


def _numbers(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for caption in read:
        said = {}
        for i, word in enumerate(caption.words):
            number = NUMBERS.get(word) or ("1" if word in ("a", "an") else None)
            if number is None:
                continue
            for near in caption.words[i + 1 : i + 5]:
                noun = _NOUN_OF.get(near)
                if noun in ("bicycle", "motorcycle", *_ACTORS) and near not in (
                    "crowd",
                    "team",
                    "couple",
                    "family",
                    "group",
                ):
                    said[noun] = int(number)
                    break
                if noun or near in ("of", "in", "with", "and"):
                    break
        for noun, number in said.items():
            counts[noun][str(number)] += 1
        people = sum(number for noun, number in said.items() if noun in PEOPLE)
        if people and "person" not in said:
            counts["person"][str(people)] += 1
    items = []
    for noun, numbers in counts.items():
        (best, agreed), *rest = numbers.most_common()
        # "a man" may stand beside others, so one is asked only when nobody counted more.
        if agreed >= (3 if best == "1" else 2) and not rest and (best != "1" or rng.random() < 0.4):
            items.append(("number", ask("number", rng, x=noun), (best,)))
    return items[:2]


def _coloured(read: Sequence[_Caption]) -> dict[str, Counter]:
    """How many writers gave a thing a colour: `red shirt`, `black and white dog`."""
    colours: dict[str, Counter] = defaultdict(Counter)
    for caption in read:
        said = set()
        for i, word in enumerate(caption.words):
            for near in caption.words[i + 1 : i + 5] if word in _COLOUR_OF else ():
                if near in _NOUN_OF:
                    if _NOUN_OF[near] not in PEOPLE and _NOUN_OF[near] not in PLACES:
                        said.add((_NOUN_OF[near], _COLOUR_OF[word]))
                    break
                if near in ("in", "on", "with", "is", "of", "a", "the", "are"):
                    break
        for noun, colour in said:
            colours[noun][colour] += 1
    return colours


def _colours(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    items = []
    for noun, colours in _coloured(read).items():
        if agreed := _agreed(colours):
            items.append(("colour", ask("colour", rng, s=noun), agreed))
    return items


def _objects(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    mentions = _mentions(read)
    agreed = _agreed(mentions)
    people = tuple(noun for noun in agreed if noun in PEOPLE)
    animals = tuple(noun for noun in agreed if noun in ANIMALS)
    subjects = _agreed(Counter(filter(None, map(_subject, read))))
    things = {noun: n for noun, n in mentions.items() if noun in THINGS}
    asked = {
        "who": people,
        "what": subjects or _agreed(things, 3),
        "animal": animals,
        "vehicle": tuple(noun for noun in agreed if noun in VEHICLES),
        "sport": _agreed(_sports(read)),
    }
    items = [("object", ask(name, rng), answers) for name, answers in asked.items() if answers]
    for (verb, subject), nouns in _held(read, mentions).items():
        text = ask("mouth" if verb == "mouth" else "held", rng, s=subject, v=verb)
        items.append(("object", text, tuple(sorted(nouns))))
    for caption in read:
        items += _renamed(caption, people, animals, rng)
    return items


def _held(read: Sequence[_Caption], mentions: Mapping[str, int]) -> dict[tuple[str, str], set[str]]:
    """What somebody holds, wears, rides or has in the mouth: (verb, subject) -> things."""
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for caption in read:
        subject = _subject(caption)
        if subject is None:
            continue
        if "mouth" in caption.words and subject in ANIMALS:
            things = [noun for noun in caption.nouns if noun in THINGS and mentions[noun] > 1]
            if things:
                held["mouth", subject].add(things[0])
        for i, word in enumerate(caption.words):
            verb = _HOLD_OF.get(word)
            after = caption.words[i + 1 : i + 6] if verb else ()
            nouns = (_NOUN_OF[near] for near in after if near in _NOUN_OF)
            noun = next((noun for noun in nouns if noun != subject), None)
            if noun and mentions[noun] > 1 and (verb != "wearing" or noun in CLOTHES):
                held[verb, subject].add(noun)
    return held


def _renamed(
    caption: _Caption, people: tuple[str, ...], animals: tuple[str, ...], rng: random.Random
) -> list[_Item]:
    """COCO-QA's rule: the caption with its subject replaced, "what is running through the snow"."""
    subject = _subject(caption)
    answers = people if subject in people else animals if subject in animals else ()
    words = caption.words[caption.nouns[subject] + 1 :] if answers else []
    if "is" in words[:1] and len(words) > 2 and rng.random() < 0.5:
        who = rng.choice(("what", "who")) if answers == people else "what"
        return [("object", reword(" ".join([who, *words[:7]]), rng), answers)]
    return []


def _sports(read: Sequence[_Caption]) -> Counter:
    return Counter(
        sport
        for caption in read
        for sport, words in SPORTS.items()
        if set(words) & set(caption.words)
    )


def _acting(read: Sequence[_Caption]) -> dict[str, Counter]:
    """How many writers let the people, or the animals, of the picture do something."""
    acts: dict[str, Counter] = {"person": Counter(), "animal": Counter()}
    for caption in read:
        subject = _subject(caption)
        if subject is None:
            continue
        group = "person" if subject in PEOPLE else "animal"
        for word in caption.words[caption.nouns[subject] + 1 :]:
            if word in _ACTION_OF:
                acts[group][_ACTION_OF[word]] += 1
                break
    return acts


def _actions(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    subjects = Counter(filter(None, map(_subject, read)))
    items = []
    for group, acts in _acting(read).items():
        members = PEOPLE if group == "person" else ANIMALS
        nouns = [noun for noun in subjects if noun in members]
        if agreed := _agreed(acts):
            items.append(("action", ask("action", rng, s=rng.choice(nouns)), agreed))
    return items


def _places(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    mentions = _mentions(read)
    places = tuple(noun for noun in _agreed(mentions) if noun in PLACES)
    subjects = list(filter(None, map(_subject, read)))
    if not places or not subjects:
        return []
    return [("place", ask("place", rng, s=rng.choice(subjects)), places)]


def yes_no(
    captions: Mapping[str, Sequence[str]], rng: random.Random, each: int = 3
) -> list[Question]:
    """Questions with "yes" or "no" that are as often the one as the other for every word asked.

    Args:
        captions: The captions of each picture.
        rng: Source of choice and wording.
        each: How many questions with "yes" a picture has at most.

    Returns:
        A balanced list: without the picture one question in two can be answered.
    """
    yes: dict[_Key, list[str]] = defaultdict(list)
    no: dict[_Key, list[str]] = defaultdict(list)
    for picture, texts in captions.items():
        sure, never = _certain([_read(text) for text in texts])
        for key in rng.sample(sorted(sure), min(each, len(sure))):
            yes[key].append(picture)
        for key in never:
            no[key].append(picture)
    found = []
    for key in sorted(yes):
        template, subject, word = key
        n = min(len(yes[key]), len(no[key]))
        for answer, pictures in (("yes", yes[key]), ("no", no[key])):
            for picture in rng.sample(pictures, n):
                worn = word in CLOTHES and rng.random() < 0.5
                text = ask("worn?" if worn else template, rng, x=word, s=subject)
                found.append(Question(picture, "yes/no", text, (answer,)))
    return found


def _certain(read: Sequence[_Caption]) -> tuple[set[_Key], set[_Key]]:
    """What two writers say is so, and what nobody says nor hints at."""
    written = {word for caption in read for word in caption.words}
    parts = (_present(read, written), _active(read, written), _tinted(read, written))
    return set().union(*(yes for yes, _ in parts)), set().union(*(no for _, no in parts))


def _present(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    mentions = _mentions(read)
    some_person = "person" in mentions
    for general, kinds in GENERAL.items():
        mentions[general] = sum(any(kind in caption.nouns for kind in kinds) for caption in read)
    yes = {("presence", "", noun) for noun in _agreed(mentions)}
    no = set()
    for noun in [*NOUNS, "animal"]:
        # A "person" may be a man and a "child" a boy: no answer is safe there.
        if noun in PEOPLE and some_person:
            continue
        related = {noun, *GENERAL.get(noun, ())} | ({"child"} & {*_above(noun)})
        hinted = written & set(HINTS.get(noun, ()))
        if not hinted and not any(mentions[name] for name in related):
            no.add(("presence", "", noun))
    return yes, no


def _above(noun: str) -> list[str]:
    return [general for general, kinds in GENERAL.items() if noun in kinds]


def _active(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    mentions = _mentions(read)
    yes, no = set(), set()
    for group, acts in _acting(read).items():
        members = PEOPLE if group == "person" else ANIMALS
        subject = max((noun for noun in mentions if noun in members), key=mentions.get, default="")
        if agreed := set(_agreed(acts)) & set(EXCLUSIVE):
            yes |= {("doing?", subject, action) for action in agreed}
            unsaid = [action for action in EXCLUSIVE if not written & set(ACTIONS[action])]
            no |= {("doing?", subject, action) for action in unsaid}
    return yes, no


def _tinted(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    yes, no = set(), set()
    for noun, colours in _coloured(read).items():
        if agreed := _agreed(colours):
            yes |= {("coloured?", noun, colour) for colour in agreed}
            near = set().union(*(alike for alike in ALIKE if alike & set(colours)))
            unsaid = [
                colour
                for colour, words in COLOURS.items()
                if colour not in near and not written & set(words)
            ]
            no |= {("coloured?", noun, colour) for colour in unsaid}
    return yes, no
