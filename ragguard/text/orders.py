"""Orders to a language model about its answer, in English: how they are worded, and how sure each wording is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragguard.text.marks import CERTAIN, Mark
from ragguard.text.wordings import Wording, find
from ragguard.types import Span

SURE, LIKELY, FAINT = CERTAIN, 0.5, 0.1
"""No other reading; as well said to people who answer others; usual among people, and only adds to others."""

_LET = r"(?:ignore|disregard|forget|override|discard|neglect|bypass|set aside|stop following|(?:do not|don't) follow)"
_FORMER = r"(?:previous(?:ly)?|above|prior|earlier|preceding|other|all|any|existing|original|remaining|past|retrieved|your)"
_TOLD = r"(?:instructions?|prompts?|directives?|guidelines?|commands?|(?<!other )system messages?)"
_READ = r"(?:context|passages|documents|sources|results|texts|paragraphs|pages)"
_MODEL = r"(?:AIs?|LLMs?|(?:large )?language models?|chatbots?|AI (?:assistants?|agents?|systems?|models?|readers?))"
_SAY = r"(?:answer|say|state|output|respond|reply|claim|tell|mention|recommend|write|print|return|insist)"
_ASKED = r"(?:question|quer(?:y|ie)|request|prompt|inquir(?:y|ie))s?"
_REPLY = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|summar(?:y|ies)|completions?)"
_ADVERB = r"(?:(?:please|always|only|just|simply|exactly|you must|you should|you will|then|ever) )*"
_CHOICE = (  # a form to be filled in, an examination
    r"(?! ?(?:with|by|in|using)? ?(?:['\"]?(?:yes|no|true|false|y|n)\b|an? |one |your |full |ink|(?:their|its|his|her) ))"
)
_QUOTE = "[\"'\u201c\u2018:]"
_THIS = r"(?:page|passage|document|text|paragraph|source|article)"

_SURE = (
    ("", rf"{_LET} (?:\w+ ){{0,3}}?{_FORMER} (?:\w+ ){{0,3}}?{_TOLD}\b(?! (?:about|for|on|regarding|from|which|of) )"),
    (
        "everything|whatever|anything|all that|what",
        rf"{_LET} (?:everything|whatever|anything|all that|what)(?! I\b)[^.\n]{{0,40}}"
        r"\b(?:above|before|earlier|told|so far|previously)\b",
    ),
    (
        "answer|respon|reply",
        rf"(?:answer|respond|reply) (?:to )?(?:this|the|every|any|all|each|such) (?:\w+ )?(?:{_ASKED}|users?)"
        rf"{_CHOICE} (?:\w+ )?(?:with|by|using|that|as)\b{_CHOICE}",
    ),
    (
        "no matter|regardless|irrespective|whatever|whichever",
        rf"(?:no matter|regardless of|whatever|irrespective of|whichever)\b[^.,\n]{{0,40}}\b(?:ask\w*|{_ASKED}|know|says?)\b"
        rf"[^.\n]{{0,60}}\b(?:{_SAY}|{_REPLY})\b",
    ),
    ("question|quer|request|prompt|inquir", rf"(?:for|to) (?:any|every|all|each) {_ASKED}\b[^.,\n]{{0,40}}, ?{_ADVERB}{_SAY}\b"),
    (
        "your ",
        rf"your (?:\w+ )?{_REPLY} (?:must|should|has to|have to|shall|needs? to|is to) (?:only |always |be ?{_QUOTE}|be that"
        r"|contain|include|mention|end with|begin with|start with|read|say|state|recommend|claim)",
    ),
    ("your ", r"your (?:\w+ )?(?:repl(?:y|ies)|responses?|outputs?) (?:must|has to|have to) be\b"),
    (
        "in your|in the answer|in the repl|in the res|in the out|in the summ|in every|in each",
        rf"in (?:your|the|every|each) {_REPLY},? {_ADVERB}(?:say|state|mention|include|claim|recommend|tell|write|cite|add)\b",
    ),
    (
        "end |begin |start |finish |close |conclude |preface |prefix ",
        r"(?:end|begin|start|finish|close|conclude|preface|prefix) (?:every|each|all|your|any)(?: of your)? (?:\w+ )?"
        rf"{_REPLY} (?:with|by)\b",
    ),
    (
        "append|add |insert|include",
        rf"(?:append|add|insert|include) [^.\n]{{0,60}}\b(?:to|in|into) (?:your|every|each|all) (?:of your )?{_REPLY}\b",
    ),
    (
        "generating|producing|composing|formulating|giving|writing",
        r"(?:when|while|whenever|before|after) (?:generating|producing|composing|formulating|giving|writing) "
        rf"(?:an?|the|your|any) {_REPLY}[^.\n]{{0,40}}, ?{_ADVERB}{_SAY}\b",
    ),
    (
        "note|notice|message|instruction|attention|hint|reminder|memo|important|dear|hello",
        r"(?:notes?|notice|message|instructions?|attention|hint|reminder|memo|important|dear|hello)(?: (?:for|to))?"
        rf"(?: (?:all|any|the|every|future))? (?:{_MODEL}\b|models?(?= ?[:,])|assistants?(?= ?[:,]))",
    ),
    (
        "ai |ais |llm|model|chatbot|assistant|bot",
        rf"(?:{_MODEL}|assistants?|models?|bots?)(?: (?:that|which|who))? (?:read|process|summari[sz]|see|pars|index|us|retriev)"
        r"(?:ing|e?s?) (?:this|the following|these)\b[^.\n]{0,60}"
        r"\b(?:must|should|shall|ha[sv]e? to|needs? to|tell|state|say|ignore|answer)\b",
    ),
    (
        "if you are|if you're|as a",
        rf"(?:if you are|if you're|as) an? {_MODEL}\b[^.\n]{{0,30}}\b(?:you|must|say|state|tell|answer|ignore|write|add|include"
        r"|reply|respond|print|finish|end|begin)\b",
    ),
    (
        "act as|behave as|operate as",
        r"(?:act|behave|operate) as (?:an? )?(?:unrestricted|unfiltered|uncensored|DAN\b|evil|jailbroken"
        r"|different (?:AI|assistant))",
    ),
    (
        "from now on",
        r"from now on,? you (?:obey|answer|respond|reply|follow|act|(?:will|must|shall|are to) (?:only |always )?"
        r"(?:obey|answer|respond|follow))",
    ),
    (
        "prompt|instructions",
        r"(?:reveal|print|show|repeat|output|leak|display) (?:me )?your (?:(?:hidden|system|initial|secret|full|original) )*"
        r"(?:prompt|instructions)\b",
    ),
    (
        "task|instruction|job|goal",
        r"(?:your (?:new|real|actual|true|only) (?:task|instructions?|job|goal)|the (?:real|actual|true) (?:task|instructions?))"
        r"(?: now)? (?:is|are)\b",
    ),
    (
        "this |the following",
        rf"(?:treat|consider|use|trust|regard) (?:only )?(?:this|the following) {_THIS}"
        r" as (?:the|your) (?:only|sole|single|primary|authoritative|most)",
    ),
    (
        "do not|don't|never",
        r"(?:do not|don't|never) (?:use|rely on|trust|cite|consider|read|quote|consult|mention) (?:(?:any|the|of) )*"
        rf"(?:other|remaining|above|rest of the|retrieved) {_READ}",
    ),
    ("base your", rf"base your {_REPLY} (?:solely|only|entirely|exclusively) on (?:this|the following|my)"),
)
_LIKELY = (
    ("", rf"{_LET} (?:the |all |any |every |of )*{_FORMER} (?:\w+ )?{_READ}\b(?! (?:in|with|on|from|of|that|which|for) )"),
    (
        "asked|queried|answering",
        r"(?:when|if|whenever) [^.,\n]{0,20}\b(?:asked|queried|answering)\b(?! for\b)[^.,\n]{1,60}, ?"
        rf"{_ADVERB}(?:answer|say|state|output|respond|reply|claim)\b",
    ),
    (
        "answer|respon|reply",
        r"(?:always|only|just|exclusively|solely) (?:ever )?(?:answer|respond|reply)\b"
        rf"(?: (?:to )?(?:(?:the|this|every|any|all) )?(?:{_ASKED}|users?|customers?))?{_CHOICE} ?"
        rf"(?:\bwith\b|\bthat\b|{_QUOTE}){_CHOICE}",
    ),
    (
        "answer|respon|reply",
        rf"(?:answer|respond|reply) (?:only|exactly|solely|exclusively|just|always) (?:with|that|by|:){_CHOICE}",
    ),
    (
        "only|just|exactly|nothing but",
        r"(?:write|output|print|say|return|repeat) (?:only|just|exactly|nothing but) the "
        r"(?:word|words|text|phrase|sentence|string)\b",
    ),
    (
        "output the|print the|return the|write the",
        rf"(?:output|print|return|write) the (?:exact )?(?:word|text|phrase|sentence|string) {_QUOTE}",
    ),
    ("refuse to", rf"refuse to (?:answer|discuss) (?:any|all|every|this|the) (?:{_ASKED}|topic)"),
    (
        "tell|inform|convince|assure",
        r"(?:tell|inform|convince|assure) (?:the users?|users|(?:whoever|anyone who|everyone who) asks|the person asking) "
        r"(?:that|to)\b",
    ),
    (
        "correct|right|only|true|final",
        rf"the (?:correct|right|only|true|final) {_REPLY} to (?:this|the|any|every) {_ASKED} (?:is|must|will)\b",
    ),
    (
        "you must",
        rf"you must (?:always |only )?(?:answer|respond|reply)(?: to)? (?:all|every|any|each) {_ASKED} "
        rf"(?:with|by|using|that){_CHOICE}",
    ),
    (
        "you are",
        r"you are (?:now |an? )(?:[a-z]+ )?(?:(?:AI|chatbot|language model|GPT)\b"
        r"|assistant\b(?! (?:manager|professor|coach|editor|if)))",
    ),
    ("new ", r"new (?:task|instructions?|directive|system prompt):"),
    ("this ", rf"this {_THIS} (?:takes precedence|has priority|overrides|supersedes) (?:over )?(?:all|any|every)"),
    ("pretend", r"pretend (?:to be|you are|that you are) (?:an? )?(?:[a-z]+ )?(?:AI|chatbot|language model|assistant)\b"),
    ("must |should ", r"(?:reading|all) [^.\n]{0,20}(?:must|should) (?:state|claim|answer|reply|respond) that\b"),
    ("your ", r"your (?:new )?(?:instructions are|system prompt is)\b"),
)
_FAINT = (
    (
        "",
        rf"{_LET}\b[^.\n]{{0,30}}\b(?:previous|above|prior|earlier|preceding|other|all)\b[^.\n]{{0,30}}\b(?:{_TOLD}|rules|context"
        r"|passages?|documents?|text|information)\b",
    ),
    ("", rf"(?:respond with|reply with|answer with|answer only|say exactly|output only)\b[^.\n]{{0,60}}{_QUOTE}"),
    ("your ", r"your (?:new )?(?:instructions|system prompt)\b"),
    ("do not|don't|never", r"(?:do not|don't|never) (?:mention|reveal|answer|use the (?:other|above))\b[^.\n]{0,60}"),
)
_OF_LET = "ignore|disregard|forget|override|discard|neglect|bypass|set aside|stop following|not follow|n't follow"
_OF_REPLY = "respond with|reply with|answer with|answer only|say exactly|output only"
_WORDINGS = tuple(
    Wording.of(needs or (_OF_LET if pattern.startswith(_LET) else _OF_REPLY), rf"\b(?:{pattern})", weight)
    for patterns, weight in ((_SURE, SURE), (_LIKELY, LIKELY), (_FAINT, FAINT))
    for needs, pattern in patterns
)
# "Later rules override ...", "they were told to ignore ...": somebody is said to do it, and nobody is told to.
_SAID_OF = re.compile(
    r"\b(?:to|not|n't|they|we|I|he|she|it|who|that|which|may|might|can|could|would|did|(?<!you )(?:will|shall|should|must))"
    r"(?: also| always| never)? $",
    re.IGNORECASE,
)
NEAR = 20
"""Characters before an order in which it shows whether somebody is only said to do it."""


def orders(text: str) -> Iterator[Mark]:
    """Places that tell a model what to answer, with the weight of the wording; places may overlap."""
    for weight, match in find(_WORDINGS, text):
        said_of = _SAID_OF.search(text, max(match.start() - NEAR, 0), match.start())
        yield Mark(Span(*match.span()), FAINT if said_of else weight)
