"""PURE: a follow-up question ("And where?"), completed with the topic of the last one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MAX_ADDED = 3  # words after "and" that still ask about the last topic: "And on Sundays?"
MAX_TOPIC = 300  # characters of the question that is taken up

_AND = "and but or und aber oder et mais ou y pero e ma mas en maar och og men ale и а но ve ja entä"
_ASKING = """
who whom whose what when where why how which long much many often far else exactly about since until from for to by at
in on is are was were do does did it that this they them then so a i the
wer wen wem was wann wo wohin woher warum wieso weshalb wozu womit wie welche welcher welches lange viel viele oft genau
seit bis von ab ist sind war es das der die denn noch sonst dann
qui que quoi quand où pourquoi comment combien quel quelle quels quelles de temps longtemps est ce depuis jusqu à
quién quiénes qué cuándo dónde por cómo cuánto cuánta cuántos cuántas cuál cuáles desde hasta es eso tiempo
chi che cosa quando dove perché come quanto quanta quanti quante quale quali da fino è
quem onde porque porquê como quantos quantas qual quais até é isso
wat wanneer waar waarom hoe welke lang veel vaak sinds tot het dat
vem vad när var varför hur vilken länge många hvem hvad hva hvornår når hvor hvorfor hvordan hvilken længe lenge mange
kto co kiedy gdzie dlaczego jak ile który która długo kdo kdy kde proč kolik dlouho
кто что когда где куда откуда почему зачем как сколько какой какая какие долго это
kim ne zaman nerede neden niçin nasıl kaç hangi kuka mikä milloin missä miksi miten
그리고 그럼 왜 어디 어디서 어디에 언제 누가 무엇 뭐 어떻게 얼마나
"""
_JOINS = frozenset(_AND.split())
_ASKS = frozenset(_ASKING.split())  # a question of nothing else has no topic of its own
_ABOUT = re.compile(r"(?:what|how) about\b|was ist mit\b|et pour\b|qué tal\b")
_WORD = re.compile(r"[\w'’]+")
# Without spaces between words: question words and particles alone, or "… 呢", "… は" with a few signs before.
_UNSPACED = re.compile(
    r"(?:那么?|而且?|并且|在|是|为什么|为何|什么|时候|时间|哪[里儿个]|谁|怎么?样?|如何|多[少久长]|几|何[时地]|呢|吗|的"
    r"|それで|そして|では|じゃあ|なぜ|どうして|どこ|いつ|だれ|誰|何|なに|どう|いくら|どれ|どちら|どのくらい"
    r"|から|まで|[はがにへでをとのかも]|です|して)+"
    r"|[^\sa-z]{1,6}(?:呢|は)"
)


def complete(question: str, earlier: Sequence[str]) -> str:
    """The question, with the last of the `earlier` ones (oldest first) that has a topic, where it has none itself."""
    if not points_back(question):
        return question
    topic = next((one for one in reversed(earlier) if one.strip() and not points_back(one)), "")
    if not topic:
        return question
    asked, topic = question.strip(), " ".join(topic.split())
    if len(topic) > MAX_TOPIC:
        topic = topic[:MAX_TOPIC].rsplit(" ", 1)[0] + "…"
    return f"{asked}{'' if asked.endswith(('?', '？')) else '?'} ({topic})"


def points_back(question: str) -> bool:
    """Whether a question has no topic: it is made of words that ask, or adds a few to the last one ("And …")."""
    text = unicodedata.normalize("NFKC", question).casefold().strip()
    words = _WORD.findall(text)
    if len(words) == 1 and _UNSPACED.fullmatch(words[0]):
        return True
    if (about := _ABOUT.match(text)) is not None:
        return len(_WORD.findall(text[about.end() :])) <= MAX_ADDED
    if words and words[0] in _JOINS:
        return len(words) - 1 <= MAX_ADDED or all(word in _ASKS for word in words[1:])
    return bool(words) and all(word in _ASKS for word in words)
