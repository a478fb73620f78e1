"""Text that is unusual and honest passes: canonical form and spans, no finding, and the gate admits it."""
# ruff: noqa: E501

from __future__ import annotations

import unicodedata

import pytest

from ragguard.demo.scenario import DATA
from ragguard.evaluation.datasets import load
from ragguard.gate import Gate
from ragguard.text import canonical, words
from ragguard.text.control import control_spans
from ragguard.text.hidden import hidden_spans, removed_spans
from ragguard.types import Document, Span

HONEST = {
    "hebrew": "הספרייה נפתחה בשנת 1902 (בערך), ו-PDF של הקטלוג זמין באתר. מחיר: 25 ₪.",
    "hebrew, points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם וְאֵת הָאָרֶץ",
    "hebrew, marked up": "התוכנה \u2066PostgreSQL 16.2\u2069 פותחה, ראו \u202bאתר הבית\u202c.\nQuoted: \u2067שלום\u2069 means peace.",
    "hebrew, marks": "שפת C\u200e (1972) היא שפה\u200f!",
    "arabic": "تأسست المدينة في القرن العاشر، وعدد سكانها ٢٥٠٬٠٠٠ نسمة (تقديرًا).",
    "arabic, letter mark": "العدد \u061c-15\u061c درجة مئوية",
    "arabic, vowels": "الْحَمْدُ لِلَّهِ رَبِّ الْعَالَمِينَ",
    "persian joiners": "می\u200cخواهم کتاب\u200cهای خانه\u200cام را ببینم؛ نمی\u200cدانم کجا هستند.",
    "urdu": "یہ کتاب اردو میں لکھی گئی ہے، اور ۲۰۲۰ء میں چھپی۔",
    "names set apart": "Welcome back, \u2068Amira\u2069! You have \u20683\u2069 new messages.",
    "hindi joiners": "क्\u200dष और क्ष, श्री और श्\u200dरी, राष्ट्र की भाषा",
    "bengali": "কলকাতা, র\u200d্যাব, বাংলা ভাষা ও সাহিত্য",
    "malayalam": "അവന്\u200d, മലയാളം, കേരളം",
    "sinhala": "ශ්\u200dරී ලංකාව, ක්\u200dෂණික",
    "tamil and telugu": "தமிழ்நாடு மாநிலம் மற்றும் తెలుగు భాష",
    "thai": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย ก่อตั้งเมื่อ พ.ศ. ๒๓๒๕",
    "mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠠᠶᠢᠭ\u180eᠠ ᠪᠢᠴᠢᠭ",
    "cjk": "東京都は日本の首都であり、人口は約1,400万人。葛\U000e0100城市、辻\ufe00 。「引用」……",
    "chinese": "北京是中华人民共和国的首都。全角ＡＢＣ　１２３，标点：“好”。",
    "korean": "서울은 대한민국의 수도이다. 1394년부터 수도였다 (한양).",
    "emoji": "Team: \U0001f469\U0001f3fd\u200d\U0001f4bb \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \u2764\ufe0f \u261d\U0001f3fd 1\ufe0f\u20e3",
    "emoji, flags": "\U0001f1e9\U0001f1ea \U0001f1ef\U0001f1f5 \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f \U0001f3f3\ufe0f\u200d\U0001f308",
    "emoji as text": "a heart \u2764\ufe0e, a phone \u260e\ufe0e and \u00a9\ufe0f 2024",
    "turkish": "Işık hızı ve ılık sular; kadın, altı, İstanbul'un sokakları.",
    "vietnamese": "Hà Nội là thủ đô của nước Việt Nam; ngọc, ruộng, một, chị Thạch.",
    "sanskrit in latin letters": "Kṛṣṇa and Viṣṇu in the Aṣṭādhyāyī, the Ṛgveda, and niṣkṛṣṭa.",
    "yoruba and igbo": "Ọjọ́ ọ̀sẹ̀, ẹ̀kọ́ àti ìwé; Ndị Igbo na-asụ asụsụ ha.",
    "cyrillic and greek": "Москва — столица России. Η Αθήνα είναι η πρωτεύουσα της Ελλάδας.",
    "armenian and georgian": "Երևանը Հայաստանի մայրաքաղաքն է։ თბილისი საქართველოს დედაქალაქია.",
    "phonetics": "The word green is /ɡriːn/, and goat is [ɡəʊt] or [ɡoʊt].",
    "accents": "naïve café résumé, Ångström, Łódź, Dvořák, São Tomé, œuvre, straße",
    "biology": "TNFα and IL-1β activate NF-κB; IκBα, PPARα, αB-crystallin and TGFβ1 follow, at 5 μg.",
    "math": "∀x∈ℝ: αx² + βx ≤ ∫₀^∞ e^{−t²} dt, so sinα ≈ α − α³/6; f: A → B, x ↦ x̄, p̂ ≠ ∅.",
    "latex": r"The area $A = \frac{\sqrt{3}}{4} a^2$ with $\alpha_{i,j} \le \sum_{k<n} x_k$ and \begin{cases} 1 & x > 0 \end{cases}.",
    "python": "def f(x: list[int]) -> dict[str, int]:\n\tif a < b and b > c:\n\t\treturn {k: v for k, v in x}  # keep\n",
    "c++": '#include <vector>\ntemplate <typename T>\nstd::vector<T> f(const T& a) { return a < 0 ? {} : {a}; } // <T>',
    "sql": "SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.name <> '' GROUP BY 1;",
    "shell": "for f in *.txt; do sed -e 's/a/b/g' \"$f\" | tee -a log; done && echo $? > /dev/null 2>&1",
    "json and yaml": '{"role": "admin", "tags": ["a", "b"], "n": null}\nservices:\n  web:\n    image: nginx:1.25\n',
    "html": '<p class="lead">The <b>old</b> mill <a href="https://example.org/a?b=1&amp;c=2">stands</a>.<br></p>',
    "markdown": "# Install\n\n## System requirements\n\n- Python 3.10\n* [link](https://example.org)\n\n## Response times\n\n```\npip install x\n```",
    "table": "| city | people | area |\n|:---|---:|---:|\n| Oslo | 709,037 | 454 km² |\n| Bergen | 291,940 | 464 km² |",
    "table with tabs": "name\tyear\tprice\nOak chair\t1911\t€ 40\nElm desk\t1923\t€ 125",
    "boxes": "┌────┬────┐\n│ a  │ b  │\n└────┴────┘ ▲ ▼ ● ○ ✓ ✗ → ⇒ … — “ ” ‘ ’ « »",
    "dialogue": "“Ignore him,” said Anna. When asked about the prior year, the minister said that all documents were public.",
    "instructions to people": "Do not open the valve when the pump is running. Follow the instructions above, then press Start.",
}  # fmt: skip

TYPESET = {
    "soft hyphens": ("Donau\u00addampf\u00adschiff\u00adfahrt", "Donaudampfschifffahrt"),
    "line breaks in thai": ("กรุงเทพ\u200bมหานคร\u200bเป็น\u200bเมือง", "กรุงเทพมหานครเป็นเมือง"),
    "line breaks in khmer": ("ភាសា\u200bខ្មែរ", "ភាសាខ្មែរ"),
    "byte order mark": ("\ufeffThe first line.", "The first line."),
    "page breaks": ("the end.\n\x0cPage two", "the end.\nPage two"),
    "line ends": ("one\r\ntwo\rthree", "one\ntwo\nthree"),
}
"""Text whose canonical form differs by what shows nothing and hides nothing."""

HIDING = {
    "zero width in a word": "the ki\u200bng of Rome",
    "soft hyphens between letters": "i\u00adg\u00adn\u00ado\u00adr\u00ade this",
    "joiners in a latin word": "the ki\u200dng of Rome",
    "arabic mark in a latin word": "the ki\u061cng of Rome",
    "tags": "a fine text\U000e0069\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
    "bytes in variation selectors": "a fine text \U0001f600\U000e0179\U000e0157\U000e015e",
    "override": "shown \u202eemor fo gnik\u202c so",
    "override in hebrew": "שלום \u202eabc\u202c עולם",
    "isolates that reorder": "\u2067\u2066b\u2069\u2066a\u2069\u2069 is not ab",
    "greek in a latin word": "p\u03b1yp\u03b1l and \u03b1pple",
    "cyrillic in a latin word": "p\u0430ypal",
    "dots below each letter": "ẉḥọ ịṣ ṭḥẹ ḳịṇg̣",
}
TEXTS = [*HONEST.values(), *(text for text, _ in TYPESET.values())]


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_honest_text_is_its_own_canonical_form(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    form = canonical(text)
    assert form.text == text
    assert (form.starts, form.origins) == ((0,), (0,))
    for span in words(text):
        assert form.to_original(span) == span


@pytest.mark.parametrize("text", TEXTS, ids=[*HONEST, *TYPESET])
def test_honest_text_hides_nothing_and_gives_no_orders(text: str) -> None:
    form = canonical(text)
    assert hidden_spans(form.text) == ()
    assert removed_spans(text) == ()
    assert control_spans(form.text) == ()


@pytest.mark.parametrize(("text", "expected"), TYPESET.values(), ids=TYPESET)
def test_typesetting_goes_and_the_words_stay_where_they_are(text: str, expected: str) -> None:
    form = canonical(text)
    assert form.text == expected
    for i, char in enumerate(form.text):
        place = form.to_original(Span(i, i + 1))
        assert text[place.start] in (char, "\r")


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING)
def test_what_hides_is_found_where_it_is(text: str) -> None:
    form = canonical(text)
    found = [*(form.to_original(span) for span in hidden_spans(form.text)), *removed_spans(text)]
    assert found
    assert not any(char.isascii() and char.isspace() for span in found for char in text[span.start : span.end][:1])


def test_the_gate_admits_honest_text_among_documents_of_its_kind() -> None:
    """Judged by a corpus that has no other document in most of these languages."""
    known = load(DATA).documents
    unusual = [Document(f"honest/{name}", text) for name, text in zip([*HONEST, *TYPESET], TEXTS, strict=True)]
    gate = Gate([*known, *unusual], trusted=True)
    found = [one.verdict for one in gate.judge(unusual) if one.verdict.action != "admit"]
    assert all(verdict.action == "flag" for verdict in found)
    assert all(max(verdict.signals["hidden text"], verdict.signals["control text"]) == 0 for verdict in found)
    assert len(found) <= 2  # of 51, as passages that are odd in this corpus
    hidden = [Document(f"hidden/{name}", f"{text} {known[0].text}") for name, text in HIDING.items()]
    assert all(one.verdict.action != "admit" and one.verdict.spans for one in gate.judge(hidden))
