"""Which English words stand for the same thing, and which for opposite things, when two statements are compared."""

from __future__ import annotations

from functools import cache, lru_cache

from workers.answering.words import common_stems, stem, terms

# Each line is one meaning. General English and the vocabulary of manuals; no word stands on two lines.
_SAME = """
limit maximum max cap ceiling restrict
minimum min least
default defaults standard preset
remove delete erase purge discard drop dropped deleted removal deletion
keep retain hold stay remain retention kept held
start begin launch boot startup began begun
stop halt terminate shutdown end finish
support supported supports handle
need require requires required requirement necessary mandatory must obligatory compulsory
allow permit enable lets
forbid prohibit disallow ban
create build make generate produce
send transmit deliver emit delivery transmission
receive obtain accept
wait pause delay
fail failure error crash broken
show display present
change modify alter edit modification
store save persist
large big huge larger largest bigger biggest greater greatest
small little tiny smaller smallest
long longer longest
high higher highest
low lower lowest
fast quick rapid speedy faster fastest
early earlier earliest
buy purchase
help assist aid
choose select pick
occur happen
contain include comprise hold
repeat retry again
often frequently frequent
mistake fault
replace substitute
reply respond answer response
request query
node machine host
concurrent simultaneous parallel concurrently simultaneously concurrency
undo revert
avoid prevent
message event
copy replica duplicate
folder directory
write written
encrypt encryption encrypted
compress compression compressed
connect connection
authenticate authentication
client consumer
disc disk
quit exit leave
allocate assign
divide split partition
speed velocity
cost price charge
car vehicle automobile
doctor physician
child kid
company firm
country nation
illness disease
movie film
area region
"""
# Words that lead to an answer in another's words without meaning the same: a search takes them as well, for less.
_RELATED = """
discover discovered find register registration lookup
add append insert create
backup dump
delete remove drop
kill cancel stop abort terminate
wait block timeout
long longer length maximum duration
sort sorted sorting order
dictionary dictionaries dict
string text
argument arguments parameter option
directory folder
ignore ignored exclude skip
undo revert reset restore
resolve fix
run execute launch
pass passes expire expired
deadline timeout
dies die dead crash crashed killed unreachable
blocking lock locks concurrently
web internet online
login password authentication
update upgrade
kept keep retain expire
speed performance
error exception failure
setup install configure
number count
port address
"""
# State words: saying one of a thing denies the other of it. The two sides, each as words.
_OPPOSED = (
    ("enabled enable active", "disabled disable inactive"),
    (
        "required mandatory compulsory obligatory requires require must needs need needed necessary",
        "optional unnecessary unneeded",
    ),
    ("synchronous synchronously", "asynchronous asynchronously"),
    (
        "increase increases increased grow grows rises raises",
        "decrease decreases decreased shrink shrinks falls lowers reduces reduce",
    ),
    ("supported supports support", "unsupported"),
    ("allowed permitted allows permits", "forbidden prohibited disallowed banned forbids prohibits"),
    ("accepts accepted accept", "rejects rejected reject refuses refused refuse"),
    ("mutable", "immutable"),
    ("ordered", "unordered"),
    ("safe", "unsafe"),
    ("stateful", "stateless"),
    ("sensitive", "insensitive"),
    ("automatic automatically", "manual manually"),
    ("encrypted", "unencrypted plaintext"),
    ("possible", "impossible"),
    ("ascending", "descending"),
    ("persistent durable", "volatile transient"),
    ("blocking blocks", "nonblocking"),
    ("reliable", "unreliable"),
    ("toxic poisonous", "nontoxic harmless"),
    ("compatible", "incompatible"),
    ("available", "unavailable"),
    ("recommended", "discouraged"),
    ("evergreen", "deciduous"),
    ("public", "private"),
    ("preserved preserves kept", "lost loses discarded"),
    ("lossless", "lossy"),
)
# Words that tell two subjects apart: what is said of one says nothing of the other.
_APART = """
read write|client server|producer consumer publisher subscriber|input output|first last|add remove|send receive
upper lower|source target destination|primary secondary replica|leader follower|parent child|left right|start stop end
encode decode|inner outer|request response|local remote|internal external|day night|adult child|hot cold|male female
connect read write idle|soft hard|minimum maximum min max|upload download|inbound outbound|incoming outgoing
ingress egress|north south east west|summer winter spring autumn|hourly daily weekly monthly yearly
development production staging|old new|import export|push pull|row column|absolute relative|linux windows macos
get post put delete|short long|up down|indoor outdoor|single multiple|small large|signed unsigned
"""


def meaning(word_stem: str) -> str:
    """The stem that stands for all stems of the same meaning."""
    return _meanings().get(word_stem, word_stem)


@lru_cache(maxsize=20_000)
def related(word: str) -> tuple[str, ...]:
    """Other words under which a text may speak of the same matter, as a table has them; none for most words."""
    same = stem(word.lower())
    table = _RELATED if same in common_stems() else f"{_SAME}{_RELATED}"  # "need" and "allow" lead anywhere
    lines = [line.split() for line in table.splitlines()]
    return tuple(dict.fromkeys(o for line in lines if same in map(stem, line) for o in line if stem(o) != same))


@lru_cache(maxsize=20_000)
def signs(word: str) -> tuple[str, ...]:
    """What a word stands for in comparisons: its meaning, or one sign for both sides of an opposition."""
    opposition = opposed().get(word.lower())
    return (f"\u00b1{opposition[0]}",) if opposition else tuple(meaning(term) for term in terms(word))


@cache
def opposed() -> dict[str, tuple[int, int]]:
    """Lower-case words to (which opposition, which side of it: 0 or 1)."""
    return {
        word: (number, side)
        for number, sides in enumerate(_OPPOSED)
        for side, words in enumerate(sides)
        for word in words.split()
    }


@cache
def apart() -> dict[str, set[int]]:
    """Stems to the groups of words that tell subjects apart in which they stand."""
    found: dict[str, set[int]] = {}
    for number, group in enumerate(_APART.strip().replace("\n", "|").split("|")):
        for word in group.split():
            found.setdefault(stem(word), set()).add(number)
    return found


@cache
def _meanings() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _SAME.strip().splitlines():
        stems = [stem(word) for word in line.split()]
        for one in stems:
            found.setdefault(one, stems[0])
    return found
