"""The sentence an avatar says when its answer breaks off, by ISO 639-1 code."""

__all__ = ["APOLOGIES"]

APOLOGIES = {
    "ar": "عذرًا، انقطعت إجابتي هنا. اسألني مرة أخرى من فضلك.",
    "de": "Entschuldigung, meine Antwort ist abgebrochen. Bitte frag mich noch einmal.",
    "en": "Sorry, my answer broke off here. Please ask me again.",
    "es": "Perdón, mi respuesta se ha cortado. Por favor, pregúntame otra vez.",
    "fr": "Désolé, ma réponse s'est interrompue. Posez-moi la question encore une fois.",
    "hi": "माफ़ कीजिए, मेरा जवाब बीच में रुक गया। कृपया फिर से पूछिए।",
    "it": "Scusa, la mia risposta si è interrotta. Per favore, chiedimelo di nuovo.",
    "ja": "すみません、答えが途中で切れました。もう一度聞いてください。",
    "ko": "죄송합니다. 대답이 중간에 끊겼습니다. 다시 물어봐 주세요.",
    "nl": "Sorry, mijn antwoord is afgebroken. Vraag het me alsjeblieft nog een keer.",
    "pl": "Przepraszam, moja odpowiedź się urwała. Zapytaj mnie jeszcze raz.",
    "pt": "Desculpe, a minha resposta foi interrompida. Por favor, pergunte outra vez.",
    "ru": "Извините, мой ответ оборвался. Пожалуйста, спросите ещё раз.",
    "zh": "抱歉，我的回答中断了。请再问我一次。",
}
