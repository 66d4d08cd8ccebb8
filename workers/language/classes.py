"""Nouns that only say what sort of thing a question asks for: "which levels of output", "welche Arten von Sperren"."""

from __future__ import annotations

_WORDS = """
category categories example examples form forms kind kinds level levels sort sorts type types variety varieties way ways
art arten beispiel beispiele formen kategorien möglichkeiten stufe stufen typen varianten
catégories exemples façon façons formes genre genres manière manières niveaux sortes types
categorías clases ejemplos formas maneras niveles tipos
categorie esempi livelli maniere modi tipi
exemplos maneiras níveis
manieren niveaus soorten vormen
nivåer sorter typer
виды видов способы способов типы типов уровни уровней
种类 类型 級別 级别 方式 種類 タイプ
"""
CLASSES = frozenset(_WORDS.split())


def names_a_class(word: str) -> bool:
    """Whether a word of a question need not be in its answer: a list of levels seldom says "levels"."""
    return word.lower() in CLASSES
