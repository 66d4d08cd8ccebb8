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
accept act add affect aim allow answer appear apply arrive ask assign avoid be become begin behave belong block
break bring build call cause change check choose clean close come compare consist contain continue control convert
copy cost create cut define delete deliver depend describe die differ do drop emit enable end ensure exist expect
expire explain export extend fail fall fetch find finish fit fix follow force free gain get give go grow guarantee
handle happen help hold ignore implement import improve include increase indicate inherit install keep know lead
learn leave let lie limit listen live load lock look lose maintain make manage map mark match mean measure move need
occur offer open order own parse pass perform pick point prefer prevent produce protect provide publish put raise
reach read receive recommend reduce refer refuse register reject release reload rely remain remove repeat replace
report represent require reset resolve respond rest result return rise rotate run save say see send serve set share
show specify spend split spread start stay stop store suggest support take tell tend test throw treat try turn use
vary wait want wish work write yield
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
