"""Lists of English words that the rules for sentences and statements stand on."""

from __future__ import annotations


def words_of(text: str) -> frozenset[str]:
    """The words of a text, which stand between white space."""
    return frozenset(text.split())


# Grammar: these words carry no matter.
STOP = words_of("""
a about above after again all also am an and any are aren as at be because been before being below between both but
by can cannot could couldn did didn do does doesn doing don down during each either else ever every few for from
further had hadn has hasn have haven having he hence her here hers him his how however i if in into is isn it its
itself just let ll may me might mine more most must my near neither no nor not of off on once only onto or other our
ours out over own per quite rather re s same shall she should shouldn since so some such t than that the their
theirs them then there thereby therefore these they this those though through thus to too toward under unless until
up upon us ve very via was wasn we well were weren what whatever when where whether which while who whom whose why
will with within without won would wouldn yet you your yours yes one ones etc eg ie vs much many mean explain tell
describe please know soon always
""")

# So common in questions and manuals that sharing one says little; they count a fraction.
COMMON = words_of("""
use using used user users way ways make makes made get gets give gives given work works working thing things kind
type types different difference differences differ compare comparison versus best better good new old first last
next example examples case cases need needs needed want happen happens help possible able allow allows provide
provides support supports supported say says find set sets value values number numbers name names time times data
information system systems method methods function functions object objects class classes file files default
defaults option options result results return returns call calls called run runs change changes note see like part
parts order main important long large small high low many several document documents documentation page standard
process processes server client request response protocol version versions handle handles do purpose role start stop
add added create created between exactly actually rule rules point line lines people person year years day days
world general common usual usually often source sources does about instead summarize summarise summary overview
report write list analyze analyse research study review exist exists existing become seem findings detail details
topic topics question questions answer answers text texts
""")

AUXILIARY = words_of("""
is are was were be been has have had do does did can could may might must shall should will would cannot let isn't
aren't wasn't weren't hasn't haven't hadn't don't doesn't didn't can't couldn't won't wouldn't shouldn't mustn't
needn't
""")

# Verbs that manuals use, in their base form; many are nouns too, so what stands before them decides.
VERBS = words_of("""
abort absorb accept accompany acquire act adapt add adjust admit advise affect agree aim allocate allow announce
answer appear append apply appoint argue arise arrive ask assess assign assist assume attack attend attract
authenticate authorize avoid await bake be become beg begin behave believe belong bend bind block bloom blow boil
book borrow break breed bring buffer build burn buy cache calculate call carry catch cause cease change charge check
choose claim clarify clean climb close collect combine come command commit compare compile complete compose comprise
compute conceal concern conclude configure confirm connect consist constitute construct consume contain continue
control convert cook cool copy correspond cost count cover crack create cross cure cut damage date debug decay
decide declare decrypt defend define delete deliver demand demonstrate denote deny depart depend deploy derive
describe deserve design destroy detect determine develop die differ dig direct disconnect discourage discover
dispatch dive divide do double doubt drag drain draw dream drink drip drive drop dry ease eat elect emerge emit
employ empty enable encourage encrypt end endure enforce enjoy ensure entail enter equal estimate evaluate evolve
examine exceed exchange exclude execute exist expand expect expire explain export expose extend fail fall favour
fear feed feel fetch fight fill filter find finish fire fit fix float flow flush fly fold follow forbid force
forecast forget form forward free freeze function gain gather generate get give go govern grade grant grow guarantee
guard guess guide handle happen harvest hatch hate heal hear heat help hibernate hide hire hold hope hunt hurt
ignore illustrate implement imply import improve include increase index indicate infect influence inform inherit
insert inspect install instruct interpret invent invite invoke involve join judge jump keep kill know lack last
launch lay lead leak learn leave lend let lie lift like limit link list listen live load lock log look lose love
lower mail maintain make manage map mark marry match mate mean measure meet melt mend mention merge migrate mix
monitor move multiply need note notify occur offer omit open operate order originate owe own pack paint parse pass
pay perform permit persist pick plan plant play point possess post pour precede predict prefer press presume prevent
print produce prohibit promise promote propose protect prove provide proxy publish pull push put query queue rain
raise range rank rate reach react read receive recommend record recover redirect reduce refer reflect refract refuse
register reject relate release reload rely remain remember remind remove repair repeat repel replace report
represent request require rescue reserve reset resolve respond rest restrict result retry return reveal revert
revoke ripen rise roll rot rotate route ruin rule run rust sail save say scale scan schedule score search see seek
seem select sell send serve set shape share shine ship show shrink shut sign signify sink sit skip sleep slide slow
smell snow sort sound span speak specify speed spend split spread squeeze stand start state stay steal steer stem
sting stop store stream stretch study substitute subtract suffer suggest suit support suppose surround survive swap
swarm swell swim sync take talk taste teach tear tell tend test thank think thrive throw tie trace trade transfer
transform translate transmit travel treat trigger trust try tune turn understand unload update upgrade use validate
vary verify violate visit vote wait wake walk want warm warn wash watch wear weigh win wish work wrap write yield
""")

# The verb after one of these is not the sentence's own.
SUBORDINATES = words_of("""
that which who whose where if when because while unless
""")

# What follows one of these is a noun.
BEFORE_NOUN = words_of("""
a an the of in on at for from by with to into its their his her our your my this that these those each every any
some no all both more most other another such as per and or
""")

NUMBERS = words_of("""
two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million
""")

NEGATIONS = words_of("not no never cannot none neither nor without")

# Irregular past forms.
PAST = words_of("""
became began bent bought bound broke brought built burnt came caught chose crept cut dealt did drank drew drove dug fell
felt fled flew forgot found froze gave got grew heard held hid hit hung hurt kept knew laid lay learnt led left lent lit
lost made meant met paid put ran rang read rose said sang sank sat saw sent set shone shook shot shut slept slid sold
spent spoke stood stole struck stuck sung swam taught thought threw told took tore understood went woke won wore wrote
""")
