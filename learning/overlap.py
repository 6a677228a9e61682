"""How much of the wording of replies is that of references: BLEU, chrF and ROUGE-L.

Pure text. The figures come from sacrebleu and rouge-score, as papers report them, for whatever
script the references are in. They say little about quality: two good answers to one question may
share no word, which is why nothing in Rapport decides by them (Liu et al. 2016, 1603.08023).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from learning.scripts import HAN, UNSPACED, words_of

_CHINESE, _OTHER = re.compile(f"[{HAN}]"), re.compile(f"[{UNSPACED}]")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Replies against references, over all of them."""

    bleu: float
    """0 to 100: runs of up to four words in common, and not too short."""
    chrf: float
    """0 to 100: runs of up to six letters in common; needs no words, so it suits every script."""
    rouge_l: float
    """0 to 1: the longest sequence of words in common, a reply."""


def overlap(replies: Sequence[str], references: Sequence[Sequence[str]]) -> Overlap | None:
    """Compare each reply with its references, of which the nearest counts.

    None without any, or where sacrebleu and rouge-score (the extra ``card``) are not installed.
    Takes a second or two the first time: call it in a thread.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        return None
    if not replies:
        return None
    tokeniser = tokeniser_for([text for several in references for text in several])
    most = max(map(len, references))
    # One column a reference. Replies with fewer have None in the last ones, which sacrebleu
    # takes, though its annotations do not say so.
    columns: list[Any] = [
        [several[place] if place < len(several) else None for several in references]
        for place in range(most)
    ]
    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    longest = [
        float(scorer.score_multi(several, reply)["rougeL"].fmeasure)
        for reply, several in zip(replies, references, strict=True)
    ]
    return Overlap(
        bleu=float(BLEU(tokenize=tokeniser).corpus_score(replies, columns).score),
        chrf=float(CHRF().corpus_score(replies, columns).score),
        rouge_l=sum(longest) / len(longest),
    )


def tokeniser_for(texts: Sequence[str]) -> str:
    """The sacrebleu tokeniser that suits the script of most of the texts.

    ``zh`` as soon as there is Chinese: it takes Chinese characters one by one and leaves words in
    other scripts as ``13a`` does. ``char`` where most is in another script without spaces,
    such as Japanese, whose words could only be found with a dictionary.
    """
    text = "".join(texts)
    letters = len(_LETTER.findall(text))
    chinese, other = len(_CHINESE.findall(text)), len(_OTHER.findall(text))
    if other > 0.1 * (chinese + other) and chinese + other > letters / 2:
        return "char"
    return "zh" if chinese else "13a"


class _Words:
    """`words_of` as rouge-score wants it; its own tokeniser knows a to z and digits only."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text)
