"""Orders to a language model in other languages than English: what to let go, what to answer, whatever is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragguard.text.marks import CERTAIN, Mark
from ragguard.types import Span

WORDED = 0.7
"""An order on answers, which people are given as well: more than a half, since each names both the answer and the question."""

_Q = "[\"'\u201c\u201e\u2018\u00ab\u300c:]"

_CERTAIN = (
    # German
    r"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*|verwirf)\b[^.!?\n]{0,30}\b(?:alle|bisherig|vorherig|vorig|früher|obig|ander)\w*"
    r"[^.!?\n]{0,20}\b(?:Anweisung|Instruktion|Vorgabe|Befehl|Prompt|Regel)\w*",
    r"\b(?:ignorier\w*|vergiss|vergessen sie) alles,? was\b[^.!?\n]{0,20}\b(?:vorher|oben|bisher|davor|zuvor)\b",
    r"\b(?:egal|gleichgültig|ganz gleich|unabhängig davon),? (?:was|wie|welche)\b[^.!?\n]{0,40}\b(?:frag|gefragt|wissen)\w*[^.!?\n]{0,25}"
    r"\b(?:antworte\w*|sage?|gib|behaupte|schreib\w*)\b",
    r"\b(?:Hinweis|Nachricht|Anweisung\w*|Achtung|Notiz)\b[^.\n]{0,5}\b(?:an|für)\b[^.\n]{0,10}\b(?:KI|Sprachmodell|Chatbot)",
    # Spanish, Portuguese, Italian
    r"\b(?:ignor[aei]\w*|olvid[ae]\w*|esqueç?[ae]\w*|dimentica\w*|descart[ae]\w*|desconsider[ae]\w*)\b[^.!?\n]{0,25}\b(?:instruc|instruç"
    r"|istruz|indicaci|órdenes|ordens|ordini)\w*[^.!?\n]{0,12}\b(?:anterior|previ|preceden)\w*",
    r"\b(?:olvida|ignora|esqueça|ignore|dimentica)\b[^.!?\n]{0,6}\b(?:todo |tudo |tutto )?(?:lo que|o que|ciò che|quello che)\b[^.!?\n]{0,25}"
    r"\b(?:antes|arriba|anteriormente|acima|prima|sopra)\b",
    r"\b(?:a|ante|para) (?:cualquier|qualquer|toda|todas las|todas as)\s+(?:pregunt|pergunt|consult)\w*[^.!?\n]{0,20}\b(?:respond|contest|di"
    r"|diga)\w*",
    r"\b(?:sin importar|independientemente|independentemente|não importa|indipendentemente|qualunque|qualsiasi)\b[^.!?\n]{0,40}\b(?:pregunt"
    r"|pergunt|domand|chied)\w*[^.!?\n]{0,25}\b(?:respond|contest|di\b|diga|rispond)\w*",
    r"\b(?:nota|aviso|mensaje|mensagem|messaggio|avviso|atención|attenzione)\b[^.\n]{0,5}\b(?:para|a|per|ai|agli)\b[^.\n]{0,25}\b(?:IA|AI"
    r"|modelos? de lenguaje|modelos? de linguagem|chatbots?)\b",
    # French
    r"\b(?:ignor|oubli)\w*[^.!?\n]{0,25}\b(?:instruction|consigne|directive|règle|ordre)s?\b[^.!?\n]{0,6}\b(?:précédent|antérieur|ci-dessus)\w*",
    r"\b(?:oublie[sz]?|ignore[sz]?) (?:tout )?ce qui (?:précède|est au-dessus|a été dit)",
    r"\b(?:quelle? que soit|peu importe|indépendamment de)\b[^.!?\n]{0,25}\b(?:question|demande|requête)\b[^.!?\n]{0,20}\b(?:répond|dis|dites"
    r"|écri|affirme)\w*",
    r"\b(?:note|avis|message|attention)\b[^.\n]{0,5}\b(?:aux?|pour|à)\b[^.\n]{0,20}\b(?:IA|modèles? de langage|chatbots?)\b",
    # Dutch
    r"\b(?:negeer|vergeet)\b[^.!?\n]{0,25}\b(?:eerdere|vorige|bovenstaande|voorgaande|alle)\b[^.!?\n]{0,15}\b(?:instructie|aanwijzing|opdracht)\w*",
    # Russian
    r"\b(?:игнориру|проигнориру|забуд)\w*[^.!?\n]{0,25}\b(?:предыдущ|прежн|вышеуказанн|прошл)\w*[^.!?\n]{0,15}\b(?:инструкци|указани|команд)\w*",
    r"\b(?:что бы|о чём бы|какой бы|независимо от)\b[^.!?\n]{0,40}\b(?:спр[ао]с|спраш|вопрос)\w*[^.!?\n]{0,25}\b(?:отвеча|ответь|говори|скажи)\w*",
    # Chinese
    "(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|抛开)[^。！？\n]{0,10}(?:之前|以上|上面|先前|此前|前面|上述)[^。！？\n]{0,8}(?:指令|指示|提示|命令|内容|规则|要求)",
    "(?:无论|不管|不论)[^。！？\n]{0,14}(?:问|查询|想知道)[^。！？\n]{0,8}[，,]?[^。！？\n]{0,8}(?:回答|回复|说|输出|答复)",
    # Japanese
    "(?:これまで|以前|上記|以上|すべて|全て|前)[^。\n]{0,10}(?:指示|命令|プロンプト|指令)[^。\n]{0,8}(?:無視|忘れ)",
    "(?:何|どんな)[^。\n]{0,10}(?:聞かれ|質問され|尋ねられ)て?も[^。\n]{0,25}(?:答え|回答|言)",
    # Korean
    r"(?:이전|위|앞|기존)[^.\n]{0,10}(?:지시|명령|지침|프롬프트)[^.\n]{0,8}(?:무시|잊)",
    r"(?:무엇을|어떤 질문)[^.\n]{0,12}(?:묻|물어|받)[^.\n]{0,6}(?:든|라도|도)[^.\n]{0,25}(?:답하|답해|대답)",
)
_WORDED = (
    # German
    rf"\b(?:antworte|beantworte|erwidere|antworten sie|beantworten sie)\b[^.!?\n]{{0,25}}\b(?:An)?fragen?\b[^.!?\n]{{0,20}}(?:\bmit\b|\bdass\b|{_Q})",
    rf"\b(?:antworte|antworten sie|gib|sage)\b[^.!?\n]{{0,12}}\b(?:nur|immer|ausschließlich|stets|lediglich)\b[^.!?\n]{{0,12}}(?:\bmit\b|\bdass\b|\bdas Wort\b|{_Q})",
    r"\bwenn (?:du|man dich|dich jemand|jemand dich)\b[^.!?\n]{0,40}\b(?:ge)?fragt?\b[^.!?\n]{0,20}, ?(?:dann )?(?:antworte|sage?|behaupte)\b",
    # Spanish, Portuguese, Italian
    rf"\b(?:responde|responda|contesta|conteste|rispondi|rispondere)\b[^.!?\n]{{0,15}}\b(?:siempre|sempre|a toda|a cada|a todas|a qualquer|a ogni)"
    rf"\b[^.!?\n]{{0,40}}(?:\bcon\b|\bcom\b|{_Q})",
    rf"\b(?:responde|responda|contesta|conteste|escribe|escreva|diga|di|rispondi|scrivi)\b[^.!?\n]{{0,6}}\b(?:solo|sólo|solamente|únicamente|apenas|somente"
    rf"|soltanto)\b[^.!?\n]{{0,12}}(?:\bcon\b|\bcom\b|\bla palabra\b|\ba palavra\b|\bla parola\b|{_Q})",
    r"\b(?:cuando te|si te|quando te|quando perguntarem|se ti|quando ti)\b[^.!?\n]{0,30}, ?(?:responde|contesta|di|diz|diga|responda|rispondi)\b",
    # French
    rf"\b(?:réponds|répondez)\b[^.!?\n]{{0,15}}\b(?:toutes les|chaque|cette|la|toute)\s+(?:questions?|demandes?|requêtes?)[^.!?\n]{{0,12}}(?:\bpar\b|\bavec\b"
    rf"|\bque\b|{_Q})",
    rf"\b(?:réponds|répondez|écris|écrivez|dis|dites)\b[^.!?\n]{{0,12}}\b(?:toujours|uniquement|seulement|exclusivement)\b[^.!?\n]{{0,12}}(?:\bpar\b|\bque\b"
    rf"|\ble mot\b|{_Q})",
    r"\b(?:si|quand|lorsqu)\W?(?:on|quelqu'un|l'on) (?:te|vous)\b[^.!?\n]{0,35}, ?(?:réponds|répondez|dis|dites)\b",
    # Dutch
    rf"\b(?:beantwoord|antwoord)\b[^.!?\n]{{0,12}}\b(?:elke|iedere|alle|alleen|altijd|uitsluitend)\b[^.!?\n]{{0,15}}(?:\bmet\b|{_Q})",
    # Russian
    rf"\b(?:всегда|только)\b[^.!?\n]{{0,6}}\b(?:отвечай|ответь|говори)(?:те)?\b|\b(?:отвечай|ответь|говори)(?:те)?\b[^.!?\n]{{0,20}}\b(?:только|всегда)\b"
    rf"[^.!?\n]{{0,10}}{_Q}",
    r"\b(?:если|когда)\b[^.!?\n]{0,15}\b(?:спрос|спраш)\w*[^.!?\n]{0,25}, ?(?:отвечай|ответь|говори|скажи)(?:те)?\b",
    # Chinese
    "(?:始终|总是|一律|务必|必须)[^。！？\n]{0,24}(?:回答|回复|答复)(?:这|该|此|所有|任何|每|问|用户)",
    "(?:只|仅|只能|仅需)(?:回答|输出|回复|说)[“\"「‘'：:]",
    "(?:当|如果|若|每当)[^。，\n]{0,8}(?:问到|询问|提问|问及|问起)[^。！？\n]{0,16}[，,](?:请|必须|务必|就)?(?:回答|回复|说|答)",
    "(?:人工智能|AI|大模型|语言模型)(?:助手|模型|系统)?[^。\n]{0,2}(?:请注意|注意|必须|应当)",
    # Japanese
    "(?:必ず|常に|いつも)[^。\n]{0,25}(?:答え|回答し|返答し|出力し)て|」と(?:だけ|のみ)(?:答え|回答|出力|返答)",
    # Korean
    r"(?:항상|반드시|오직)[^.\n]{0,30}(?:답하|답해|대답하|출력하|응답하)(?:세요|라|십시오|시오)|라고만 (?:답|출력|대답|응답)",
)
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), weight)
    for patterns, weight in ((_CERTAIN, CERTAIN), (_WORDED, WORDED))
    for pattern in patterns
)


def orders_abroad(text: str) -> Iterator[Mark]:
    """As `ragguard.text.orders.orders`, in German, Spanish, Portuguese, Italian, French, Dutch, Russian, Chinese, Japanese, Korean."""
    for pattern, weight in _PATTERNS:
        for match in pattern.finditer(text):
            yield Mark(Span(*match.span()), weight)
