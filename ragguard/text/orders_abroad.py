"""Orders to a language model in other languages than English: what to let go, what to answer, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator

from ragguard.text.marks import CERTAIN, Mark
from ragguard.text.wordings import Wording, find
from ragguard.types import Span

WORDED = 0.7
"""An order on answers, which people are given as well: more than a half, since each names both the answer and the question."""

_Q = "[\"'\u201c\u201e\u2018\u00ab\u300c:]"

_GERMAN = (
    (
        "anweisung|instruktion|vorgabe|befehl|prompt|regel",
        CERTAIN,
        r"\b(?:ignorier\w*|vergiss|vergessen sie|missachte\w*|verwirf)\b[^.!?\n]{0,30}"
        r"\b(?:alle|bisherig|vorherig|vorig|früher|obig|ander)\w*[^.!?\n]{0,20}"
        r"\b(?:Anweisung|Instruktion|Vorgabe|Befehl|Prompt|Regel)\w*",
    ),
    (
        "alles",
        CERTAIN,
        r"\b(?:ignorier\w*|vergiss|vergessen sie) alles,? was\b[^.!?\n]{0,20}\b(?:vorher|oben|bisher|davor|zuvor)\b",
    ),
    (
        "egal|gleichgültig|ganz gleich|unabhängig davon",
        CERTAIN,
        r"\b(?:egal|gleichgültig|ganz gleich|unabhängig davon),? (?:was|wie|welche)\b[^.!?\n]{0,40}\b(?:frag|gefragt|wissen)\w*"
        r"[^.!?\n]{0,25}\b(?:antworte\w*|sage?|gib|behaupte|schreib\w*)\b",
    ),
    (
        "hinweis|nachricht|anweisung|achtung|notiz",
        CERTAIN,
        r"\b(?:Hinweis|Nachricht|Anweisung\w*|Achtung|Notiz)\b[^.\n]{0,5}\b(?:an|für)\b[^.\n]{0,10}\b(?:KI|Sprachmodell|Chatbot)",
    ),
    (
        "frage",
        WORDED,
        r"\b(?:antworte|beantworte|erwidere|antworten sie|beantworten sie)\b[^.!?\n]{0,25}\b(?:An)?fragen?\b"
        rf"[^.!?\n]{{0,20}}(?:\bmit\b|\bdass\b|{_Q})",
    ),
    (
        "nur|immer|ausschließlich|stets|lediglich",
        WORDED,
        r"\b(?:antworte|antworten sie|gib|sage)\b[^.!?\n]{0,12}\b(?:nur|immer|ausschließlich|stets|lediglich)\b"
        rf"[^.!?\n]{{0,12}}(?:\bmit\b|\bdass\b|\bdas Wort\b|{_Q})",
    ),
    (
        "wenn du|wenn man dich|dich jemand|jemand dich",
        WORDED,
        r"\bwenn (?:du|man dich|dich jemand|jemand dich)\b[^.!?\n]{0,40}\b(?:ge)?fragt?\b[^.!?\n]{0,20}, ?(?:dann )?"
        r"(?:antworte|sage?|behaupte)\b",
    ),
)
_ROMANCE = (
    (
        "instruc|instruç|istruz|indicaci|órdenes|ordens|ordini",
        CERTAIN,
        r"\b(?:ignor[aei]|olvid[ae]|esqueç?[ae]|dimentica|descart[ae]|desconsider[ae])\w*\b[^.!?\n]{0,25}"
        r"\b(?:instruc|instruç|istruz|indicaci|órdenes|ordens|ordini)\w*[^.!?\n]{0,12}\b(?:anterior|previ|preceden)\w*",
    ),
    (
        "lo que|o que|ciò che|quello che",
        CERTAIN,
        r"\b(?:olvida|ignora|esqueça|ignore|dimentica)\b[^.!?\n]{0,6}\b(?:todo |tudo |tutto )?"
        r"(?:lo que|o que|ciò che|quello che)\b[^.!?\n]{0,25}\b(?:antes|arriba|anteriormente|acima|prima|sopra)\b",
    ),
    (
        "pregunt|pergunt|consult",
        CERTAIN,
        r"\b(?:a|ante|para) (?:cualquier|qualquer|toda|todas las|todas as)\s+(?:pregunt|pergunt|consult)\w*[^.!?\n]{0,20}"
        r"\b(?:respond\w*|contest\w*|di|diga)\b",
    ),
    (
        "pregunt|pergunt|domand|chied",
        CERTAIN,
        r"\b(?:sin importar|independientemente|independentemente|não importa|indipendentemente|qualunque|qualsiasi)\b"
        r"[^.!?\n]{0,40}\b(?:pregunt|pergunt|domand|chied)\w*[^.!?\n]{0,25}\b(?:respond\w*|contest\w*|di|diga|rispond\w*)\b",
    ),
    (
        "nota|aviso|mensaje|mensagem|messaggio|avviso|atención|attenzione",
        CERTAIN,
        r"\b(?:nota|aviso|mensaje|mensagem|messaggio|avviso|atención|attenzione)\b[^.\n]{0,5}\b(?:para|a|per|ai|agli)\b"
        r"[^.\n]{0,25}\b(?:IA|AI|modelos? de lenguaje|modelos? de linguagem|chatbots?)\b",
    ),
    (
        "siempre|sempre|a toda|a cada|a qualquer|a ogni",
        WORDED,
        r"\b(?:responde|responda|contesta|conteste|rispondi)\b[^.!?\n]{0,15}"
        rf"\b(?:siempre|sempre|a toda|a cada|a todas|a qualquer|a ogni)\b[^.!?\n]{{0,40}}(?:\bcon\b|\bcom\b|{_Q})",
    ),
    (
        "sol|sól|únic|apenas|soment",
        WORDED,
        r"\b(?:responde|responda|contesta|conteste|escribe|escreva|diga|di|rispondi|scrivi)\b[^.!?\n]{0,6}"
        r"\b(?:solo|sólo|solamente|únicamente|apenas|somente|soltanto)\b[^.!?\n]{0,12}"
        rf"(?:\bcon\b|\bcom\b|\bla palabra\b|\ba palavra\b|\bla parola\b|{_Q})",
    ),
    (
        "cuando te|si te|quando te|quando perguntarem|se ti|quando ti",
        WORDED,
        r"\b(?:cuando te|si te|quando te|quando perguntarem|se ti|quando ti)\b[^.!?\n]{0,30}, ?"
        r"(?:responde|contesta|di|diz|diga|responda|rispondi)\b",
    ),
)
_FRENCH_AND_DUTCH = (
    (
        "instruction|consigne|directive|règle|ordre",
        CERTAIN,
        r"\b(?:ignor|oubli)\w*[^.!?\n]{0,25}\b(?:instruction|consigne|directive|règle|ordre)s?\b[^.!?\n]{0,6}"
        r"\b(?:précédent|antérieur|ci-dessus)\w*",
    ),
    ("ce qui", CERTAIN, r"\b(?:oublie[sz]?|ignore[sz]?) (?:tout )?ce qui (?:précède|est au-dessus|a été dit)"),
    (
        "que soit|peu importe|indépendamment",
        CERTAIN,
        r"\b(?:quelle? que soit|peu importe|indépendamment de)\b[^.!?\n]{0,25}\b(?:question|demande|requête)\b[^.!?\n]{0,20}"
        r"\b(?:répond|dis|dites|écri|affirme)\w*",
    ),
    (
        "note|avis |message|attention",
        CERTAIN,
        r"\b(?:note|avis|message|attention)\b[^.\n]{0,5}\b(?:aux?|pour|à)\b[^.\n]{0,20}\b(?:IA|modèles? de langage|chatbots?)\b",
    ),
    (
        "réponds|répondez",
        WORDED,
        r"\b(?:réponds|répondez)\b[^.!?\n]{0,15}\b(?:toutes les|chaque|cette|la|toute)\s+(?:questions?|demandes?|requêtes?)"
        rf"[^.!?\n]{{0,12}}(?:\bpar\b|\bavec\b|\bque\b|{_Q})",
    ),
    (
        "toujours|uniquement|seulement|exclusivement",
        WORDED,
        r"\b(?:réponds|répondez|écris|écrivez|dis|dites)\b[^.!?\n]{0,12}\b(?:toujours|uniquement|seulement|exclusivement)\b"
        rf"[^.!?\n]{{0,12}}(?:\bpar\b|\bque\b|\ble mot\b|{_Q})",
    ),
    (
        "on te|on vous|quelqu'un",
        WORDED,
        r"\b(?:si|quand|lorsqu)\W?(?:on|quelqu'un|l'on) (?:te|vous)\b[^.!?\n]{0,35}, ?(?:réponds|répondez|dis|dites)\b",
    ),
    (
        "negeer|vergeet",
        CERTAIN,
        r"\b(?:negeer|vergeet)\b[^.!?\n]{0,25}\b(?:eerdere|vorige|bovenstaande|voorgaande|alle)\b[^.!?\n]{0,15}"
        r"\b(?:instructie|aanwijzing|opdracht)\w*",
    ),
    (
        "antwoord",
        WORDED,
        r"\b(?:beantwoord|antwoord)\b[^.!?\n]{0,12}\b(?:elke|iedere|alle|alleen|altijd|uitsluitend)\b[^.!?\n]{0,15}"
        rf"(?:\bmet\b|{_Q})",
    ),
)
_RUSSIAN = (
    (
        "инструкци|указани|команд",
        CERTAIN,
        r"\b(?:игнориру|проигнориру|забуд)\w*[^.!?\n]{0,25}\b(?:предыдущ|прежн|вышеуказанн|прошл)\w*[^.!?\n]{0,15}"
        r"\b(?:инструкци|указани|команд)\w*",
    ),
    (
        "что бы|чём бы|какой бы|независимо",
        CERTAIN,
        r"\b(?:что бы|о чём бы|какой бы|независимо от)\b[^.!?\n]{0,40}\b(?:спр[ао]с|спраш|вопрос)\w*[^.!?\n]{0,25}"
        r"\b(?:отвеча|ответь|говори|скажи)\w*",
    ),
    (
        "отвечай|ответь|говори",
        WORDED,
        r"\b(?:всегда|только)\b[^.!?\n]{0,6}\b(?:отвечай|ответь|говори)(?:те)?\b"
        r"|\b(?:отвечай|ответь|говори)(?:те)?\b[^.!?\n]{0,20}\b(?:только|всегда)\b"
        rf"[^.!?\n]{{0,10}}{_Q}",
    ),
    (
        "если|когда",
        WORDED,
        r"\b(?:если|когда)\b[^.!?\n]{0,15}\b(?:спрос|спраш)\w*[^.!?\n]{0,25}, ?(?:отвечай|ответь|говори|скажи)(?:те)?\b",
    ),
)
_CHINESE = (
    (
        "忽略|无视|忘记|忘掉|不要|抛开",
        CERTAIN,
        "(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|抛开)[^。！？\n]{0,10}(?:之前|以上|上面|先前|此前|前面|上述)[^。！？\n]{0,8}"
        "(?:指令|指示|提示|命令|内容|规则|要求)",
    ),
    (
        "无论|不管|不论",
        CERTAIN,
        "(?:无论|不管|不论)[^。！？\n]{0,14}(?:问|查询|想知道)[^。！？\n]{0,8}[，,]?[^。！？\n]{0,8}(?:回答|回复|说|输出|答复)",
    ),
    (
        "始终|总是|一律|务必|必须",
        WORDED,
        "(?:始终|总是|一律|务必|必须)[^。！？\n]{0,24}(?:回答|回复|答复)(?:这|该|此|所有|任何|每|问|用户)",
    ),
    ("只|仅", WORDED, "(?:只|仅|只能|仅需)(?:回答|输出|回复|说)[“\"「‘'：:]"),
    (
        "问到|询问|提问|问及|问起",
        WORDED,
        "(?:当|如果|若|每当)[^。，\n]{0,8}(?:问到|询问|提问|问及|问起)[^。！？\n]{0,16}[，,](?:请|必须|务必|就)?(?:回答|回复|说|答)",
    ),
    ("注意|必须|应当", WORDED, "(?:人工智能|AI|大模型|语言模型)(?:助手|模型|系统)?[^。\n]{0,2}(?:请注意|注意|必须|应当)"),
)
_JAPANESE_AND_KOREAN = (
    (
        "無視|忘れ",
        CERTAIN,
        "(?:これまで|以前|上記|以上|すべて|全て|前)[^。\n]{0,10}(?:指示|命令|プロンプト|指令)[^。\n]{0,8}(?:無視|忘れ)",
    ),
    (
        "聞かれ|質問され|尋ねられ",
        CERTAIN,
        "(?:何|どんな)[^。\n]{0,10}(?:聞かれ|質問され|尋ねられ)て?も[^。\n]{0,25}(?:答え|回答|言)",
    ),
    (
        "答え|回答|返答|出力",
        WORDED,
        "(?:必ず|常に|いつも)[^。\n]{0,25}(?:答え|回答し|返答し|出力し)て|」と(?:だけ|のみ)(?:答え|回答|出力|返答)",
    ),
    ("무시|잊", CERTAIN, r"(?:이전|위|앞|기존)[^.\n]{0,10}(?:지시|명령|지침|프롬프트)[^.\n]{0,8}(?:무시|잊)"),
    (
        "무엇을|어떤 질문",
        CERTAIN,
        r"(?:무엇을|어떤 질문)[^.\n]{0,12}(?:묻|물어|받)[^.\n]{0,6}(?:든|라도|도)[^.\n]{0,25}(?:답하|답해|대답)",
    ),
    (
        "항상|반드시|오직|라고만",
        WORDED,
        r"(?:항상|반드시|오직)[^.\n]{0,30}(?:답하|답해|대답하|출력하|응답하)(?:세요|라|십시오|시오)|라고만 (?:답|출력|대답|응답)",
    ),
)
_LATIN = tuple(Wording.of(needs, pattern, weight) for needs, weight, pattern in (*_GERMAN, *_ROMANCE, *_FRENCH_AND_DUTCH))
_OTHER = tuple(Wording.of(needs, pattern, weight) for needs, weight, pattern in (*_RUSSIAN, *_CHINESE, *_JAPANESE_AND_KOREAN))


def orders_abroad(text: str) -> Iterator[Mark]:
    """As `ragguard.text.orders.orders`, in ten languages.

    German, Spanish, Portuguese, Italian, French, Dutch, Russian, Chinese, Japanese, Korean.
    """
    for weight, match in find(_LATIN if text.isascii() else (*_LATIN, *_OTHER), text):
        yield Mark(Span(*match.span()), weight)
