"""Frequent function words of languages, of which running text holds some.

English has the eight words of Gopher (arXiv 2112.11446, appendix A.1.1). Others have some eight of
the most frequent words of Wikipedia that are function words, after the ordered lists that jusText
carries (BSD-2-Clause; Pomikálek 2011). Where a language is written in two scripts there are words
of both. A language is here only if nine in ten pieces of 100 words of the Universal Declaration of
Human Rights hold two of its words: Korean, Malayalam or Tamil write what would be function words
as endings, and Gopher's rule would drop good text.
"""

from __future__ import annotations

#: Words by ISO 639-1 code, lower case. A language that is not here has no stop-word rule.
STOP_WORDS: dict[str, tuple[str, ...]] = {
    language: tuple(words.split())
    for language, words in {
        "af": "die van en in het is wat met",
        "ar": "في من على إلى أن التي عن أو",
        "az": "və bir ilə bu də olan üçün da вә бир илә бу үчүн",
        "be": "і ў у з на да не што",
        "bg": "на и в е от се за с",
        "bn": "ও এবং এই একটি এর থেকে করা করে",
        "br": "e ar a an ha da eus ur",
        "bs": "je i u se na su da za је и се на су да за",
        "ca": "de la i a el que en per",
        "cs": "a v se na je z s do",
        "cy": "yn y a o i ar yr ac",
        "da": "i og af en er til at som",
        "de": "der und die in von den mit das",
        "el": "και το του της την από με η",
        "en": "the be to of and that have with",
        "eo": "la de en kaj estas al por kun",
        "es": "de la en el y que a los",
        "et": "ja on oli ning ta ka ei et",
        "eu": "eta da bat ez zen zuen dira du",
        "fa": "و در به از که این را با",
        "fi": "ja on oli myös hän joka ei että",
        "fr": "de la et le les des un dans",
        "fy": "de fan it en yn is op dat",
        "ga": "an a na agus ar i ag go",
        "gl": "de e a o que do en da",
        "gu": "છે અને આ જ એક કે તે પણ",
        "he": "של את על הוא עם היא לא או",
        "hi": "के में की और का से को है",
        "hr": "je i u se na su od za",
        "ht": "nan yon se ki li ak pou nou",
        "hu": "a és az is egy hogy nem de",
        "hy": "է և են ու էր իր որ այդ",
        "id": "yang dan di dengan dari pada ini untuk",
        "ig": "na nke bu ndi ya a nwere o",
        "is": "í og að er á sem til en",
        "it": "di e il la in del che per",
        "jv": "ing iku lan iki sing ana kang saka",
        "ka": "და იყო ამ მისი რომ არის არ ან",
        "kk": "және мен бір үшін бұл бар деп немесе",
        "ky": "жана менен бир да бул үчүн деп болуп",
        "la": "in et est ad a cum de qui",
        "lb": "an der de vun ass den déi op",
        "lt": "ir buvo į yra nuo su iš kad",
        "lv": "un ir ar no par bija arī kas",
        "mk": "на и во се од е за со",
        "mr": "या हे आणि हा किंवा ही आहे व",
        "ms": "yang dan di pada dengan dalam untuk ini",
        "mt": "u ta li minn fuq ma biex hu",
        "ne": "को र मा यो एक पनि छ तथा",
        "nl": "de van in en het een is op",
        "nn": "i og av er som til på ein",
        "no": "i og av som er en til på",
        "oc": "de la e lo en a que es",
        "pa": "ਦੇ ਦੀ ਦਾ ਅਤੇ ਹੈ ਨੂੰ ਤੋਂ ਵਿੱਚ",
        "pl": "w i z na się do jest nie",
        "pt": "de e a o do da em que",
        "ro": "de în a și din la este cu",
        "ru": "в и на с по из не к",
        "sk": "a v sa na je z s do",
        "sl": "je in v na se so za pa",
        "sq": "të e në dhe i me një për",
        "sr": "је и у на су да за се je i u na su da za se",
        "sv": "och i av en som är att till",
        "sw": "ya na wa katika kwa ni la za",
        "tk": "we bilen hem bir üçin bu bolan bolup",
        "tl": "ng sa na ay ang mga isang at",
        "tr": "ve bir ile bu de da için her",
        "uk": "в і на у з та до що",
        "ur": "کے میں کی اور سے کا اس کو",
        "uz": "va bilan uchun bir yoki har ham bu ва билан учун бир ёки ҳар ҳам бу",
        "vi": "là và của một có được các trong",
        "wa": "l di a d des les est on",
        "yo": "ni je ti tí ó ní to ati",
    }.items()
}
