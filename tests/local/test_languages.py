"""Languages as data: English and German, and what a translator can do without code."""

from __future__ import annotations

import logging
import string
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.local.brain import Brain, CallTool, Exchange, Said, Say, ToolAnswered
from assistant.local.language import LANGUAGES, Language, english, language
from assistant.local.skills import read_tools
from assistant.local.translation import Catalogue
from assistant.local.understanding import Understanding
from assistant.local.voice import has_voice
from assistant.tools.consent import CONSENT_TOOLS
from assistant.tools.registry import ToolRegistry
from assistant.tools.translations import Translations

MEDIA = {"media": {"host": "127.0.0.1", "stations": {"Radio Eins": {"url": "http://127.0.0.1/"}}}}
"""Settings of plugins that have no tools without them."""

CODES = sorted(path.parent.name for path in LANGUAGES.glob("*/brain.toml"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ToolRegistry:
    registry = ToolRegistry(tmp_path_factory.mktemp("state"), language="de")
    registry.load(installed=False, settings=MEDIA)
    return registry


@pytest.fixture(scope="module")
def german(registry: ToolRegistry) -> Brain:
    skills = read_tools(registry.specs(offline=True), language("de"))
    assert skills.problems == ()
    return Brain(skills)


# --- every language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_a_language_has_all_that_english_has(code: str) -> None:
    other, reference = language(code), english()
    assert other.phrases.keys() == reference.phrases.keys()
    for name, text in other.phrases.items():
        assert places(text) == places(reference.phrases[name]), name
    for part in ("requests", "answers"):
        assert all(getattr(other, part)[key] for key in getattr(reference, part)), part
    assert has_voice(other.voice)
    Understanding(read_tools([], other))  # all templates can be read


@pytest.mark.parametrize("code", CODES)
def test_the_files_of_a_language_name_tools_that_there_are(
    code: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = ToolRegistry(tmp_path, language=code)
    registry.load(installed=False, settings=MEDIA)
    specs = registry.specs(offline=True)
    assert "language" not in caplog.text
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []
    assert read_tools(specs, language(code)).problems == ()
    known = registry.tools.keys() | CONSENT_TOOLS.keys() | {"lists", "says", "topic"}
    for path in sorted((LANGUAGES / code).glob("*.toml")):
        if path.name != "brain.toml":
            assert tomllib.loads(path.read_text(encoding="utf-8")).keys() <= known, path.name


def places(text: str) -> set[str | None]:
    return {place for _, place, _, _ in string.Formatter().parse(text) if place is not None}


def test_a_language_that_nobody_translated_is_english() -> None:
    assert language("xx") is not None
    assert language("xx").code == "en"
    assert language("de-AT").code == "de"


# --- German -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("Stell einen Timer auf fünf Minuten", "set_timer", {"amount": 5, "unit": "minutes"}),
        ("stelle bitte einen Timer auf 25 Minuten", None, {}),
        ("bitte stelle einen Timer auf fünfundzwanzig Minuten", "set_timer", {"amount": 25, "unit": "minutes"}),
        ("Timer auf eine halbe Stunde", "set_timer", {"amount": 30, "unit": "minutes"}),
        ("Timer für anderthalb Stunden", "set_timer", {"amount": 90, "unit": "minutes"}),
        ("Timer zwei Stunden und zehn Minuten", "set_timer", {"amount": 130, "unit": "minutes"}),
        ("starte einen Nudel-Timer für 8 Minuten", "set_timer", {"amount": 8, "unit": "minutes", "name": "pasta"}),
        ("Wecke mich um 7:30 Uhr", "set_alarm", {"time": "7:30 next"}),
        ("weck mich morgen um viertel vor acht", "set_alarm", {"day": "tomorrow", "time": "7:45 next"}),
        ("stell den Wecker werktags auf sechs Uhr", "set_alarm", {"repeat": "weekdays", "time": "6:00 next"}),
        ("stell den Wecker auf zehn Uhr abends", "set_alarm", {"part": "evening", "time": "10:00 next"}),
        ("lösche den Wecker um 13 Uhr", "cancel_alarm", {"time": "13:00"}),
        (
            "erinnere mich in 10 Minuten an den Müll",
            "set_reminder",
            {"amount": 10, "unit": "minutes", "text": "den Müll"},
        ),
        ("erinnere mich jeden Montag um sechs", "set_reminder", {"repeat": "mon", "time": "6:00 next"}),
        ("noch fünf Minuten", "snooze", {"minutes": 5}),
        ("was läuft gerade", "running_tasks", {}),
        ("brich die Aufgabe ab", "cancel_task", {}),
        ("spiel etwas Musik", "play_music", {}),
        ("spiele das Lied Sailing", "play_music", {"title": "Sailing"}),
        ("Radio an", "play_radio", {}),
        ("mach die Musik leiser", "music_volume", {"change": "down"}),
        ("Stell das Radio auf 30 Prozent", "music_volume", {"level": 30}),
        ("nächstes Lied", "next_song", {}),
        ("was spielt gerade", "now_playing", {}),
        ("Pause", "pause_music", {}),
        ("Musik aus", "stop_music", {}),
        ("mach das Mikrofon aus", "mute_microphone", {}),
        ("Wie voll ist die Festplatte?", "free_disk", {}),
        ("starte den Computer neu", "reboot", {}),
        ("Wie spät ist es?", "current_time", {}),
        ("Setz Hafermilch auf die Einkaufsliste", "add_to_list", {"item": "Hafermilch", "list": "shopping"}),
        ("was steht auf meiner Einkaufsliste", "read_list", {"list": "shopping"}),
        ("ja bitte", "confirm_action", {}),
    ],
)
def test_german_requests(german: Brain, text: str, tool: str | None, arguments: dict[str, Any]) -> None:
    decision = german.decide(Said(text, typed=True))
    if tool is None:
        assert isinstance(decision, Say)
    else:
        assert decision == CallTool(tool, arguments)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("hallo", "Hallo."),
        ("vergiss es", "Alles klar."),
        ("Stell einen Timer", "Wie lange?"),
        ("sing mir ein Lied", "Das habe ich leider nicht verstanden. Du kannst zum Beispiel sagen: „wie spät ist es“."),
    ],
)
def test_german_answers(german: Brain, text: str, answer: str) -> None:
    assert german.decide(Said(text)) == Say(answer)


def test_a_german_pin() -> None:
    translated = [Translations("de").of(tool, None).spec(offline=True) for tool in CONSENT_TOOLS.values()]
    decision = Brain(read_tools(translated, language("de"))).decide(Said("die PIN ist eins zwei drei vier"))
    assert decision == CallTool("enter_pin", {"first": 1, "second": 2, "third": 3, "fourth": 4})


def test_a_german_dialogue(german: Brain) -> None:
    history = [Exchange("stell einen Timer", "Wie lange?")]
    assert german.decide(Said("zwanzig"), history=history) == Say("Seconds, minutes or hours?".replace("or", "oder"))
    assert german.decide(Said("eine viertelstunde"), history=history) == CallTool(
        "set_timer", {"amount": 15, "unit": "minutes"}
    )


@pytest.mark.parametrize(
    ("tool", "output", "german_words"),
    [
        ("set_timer", "Pasta timer set for 1 hour and 30 minutes.", "Der Nudel-Timer läuft: 1 Stunde und 30 Minuten."),
        ("set_timer", '{"error": "There is a tea timer already. Cancel it first, or use another name."}', None),
        ("time_left", '{"say": "5 minutes left on the 10 minute timer."}', "Noch 5 Minuten auf dem 10-Minuten-Timer."),
        ("list_timers", '{"say": "There is no timer."}', "Es läuft kein Timer."),
        (
            "list_timers",
            '{"say": "3 minutes left on the tea timer. 2 hours left on the 3 hour timer."}',
            "Noch 3 Minuten auf dem Tee-Timer. Noch 2 Stunden auf dem 3-Stunden-Timer.",
        ),
        ("set_alarm", "Alarm set for 7 o'clock in the morning.", "Der Wecker klingelt um 7 Uhr morgens."),
        ("set_alarm", "Alarm set tomorrow at 6:45 in the evening.", "Der Wecker klingelt morgen um 6 Uhr 45 abends."),
        ("set_alarm", "Alarm set on weekdays at noon.", "Der Wecker klingelt werktags um zwölf Uhr mittags."),
        (
            "set_alarm",
            "Alarm set on Mondays, Tuesdays and Fridays at midnight.",
            "Der Wecker klingelt jeden Montag, Dienstag und Freitag um Mitternacht.",
        ),
        ("set_alarm", "Alarm set on March 3 at noon.", "Der Wecker klingelt am 3. März um zwölf Uhr mittags."),
        (
            "set_reminder",
            "I will remind you on Monday at 6 o'clock at night to get Öl.",
            "Ich erinnere dich am Montag um 6 Uhr nachts: get Öl.",
        ),
        ("set_reminder", "I will remind you in 10 minutes to x.", "Ich erinnere dich in 10 Minuten: x."),
        (
            "list_alarms",
            "Alarm for 7 o'clock in the morning. Alarm tomorrow at noon.",
            "Wecker um 7 Uhr morgens. Wecker morgen um zwölf Uhr mittags.",
        ),
        (
            "cancel_alarm",
            '{"error": "There are 2: alarm for noon and alarm for midnight. Which one?"}',
            "Es gibt 2: Wecker um zwölf Uhr mittags und Wecker um Mitternacht. Welche meinst du?",
        ),
        (
            "mute_microphone",
            "Shall I close the microphone? Then I hear nothing until somebody opens it by hand.",
            "Soll ich das Mikrofon ausschalten? Dann höre ich nichts mehr, bis es jemand von Hand einschaltet.",
        ),
        (
            "free_disk",
            "12.5 gigabytes are free; the disk is 40 percent full.",
            "12.5 Gigabyte sind frei; die Festplatte ist zu 40 Prozent voll.",
        ),
        ("cancel_task", "I have cancelled the backup.", "Abgebrochen: the backup."),
        ("read_list", '{"say": "On your shopping list: milk and tea."}', "Auf deiner Einkaufsliste: milk and tea."),
        ("current_time", '{"say": "It is half past nine."}', "Es ist neun Uhr dreißig."),
        ("current_time", '{"say": "It is sixteen minutes past six."}', "Es ist sechzehn Minuten nach sechs."),
        ("read_list", '{"say": "Something new."}', "Something new."),
    ],
)  # fmt: skip
def test_what_tools_say_in_german(german: Brain, tool: str, output: str, german_words: str | None) -> None:
    spoken = german.spoken_answer(ToolAnswered(tool, {}, output))
    if german_words is None:
        assert spoken.startswith("Es gibt schon einen Tee-Timer.")
    else:
        assert spoken.replace("milk und tea", "milk and tea") == german_words


# --- files of plugin authors ------------------------------------------------------------------------------------------

PLUGIN = '''
from assistant.plugin import tool


@tool(sentences=["boil {count} eggs"], reply="{count} eggs are boiling.")
def boil(count: int) -> None:
    """Boil eggs."""
'''


def of_author(folder: Path, text: str, plugin: str = PLUGIN) -> ToolRegistry:
    (folder / "kitchen.py").write_text(plugin, encoding="utf-8")
    (folder / "kitchen.de.toml").write_text(text, encoding="utf-8")
    registry = ToolRegistry(folder / "state", language="de-CH")
    registry.load([folder], installed=False)
    return registry


def test_a_plugin_brings_its_own_translation(tmp_path: Path) -> None:
    text = """
        topic = "Küche"
        [boil]
        sentences = ["koch[e] {count} eier"]
        reply = "{count} Eier kochen."
    """
    registry = of_author(tmp_path, text)
    (spec,) = [spec for spec in registry.specs(offline=True) if spec["name"] == "boil"]
    assert spec["x-offline"] == {
        "sentences": ["koch[e] {count} eier"],
        "reply": "{count} Eier kochen.",
        "topic": "Küche",
    }
    assert "x-offline" not in registry.specs(offline=False)[0]


def test_lists_for_all_tools_of_a_plugin(tmp_path: Path) -> None:
    text = """
        [lists.count]
        2 = "(zwei|ein paar)"
        [lists.what]
        3 = "in no sentence"
        [boil]
        sentences = ["koch {count} eier"]
    """
    registry = of_author(tmp_path, text, PLUGIN.replace('"],', '"], lists={"count": {"1": "(a|an)"}},'))
    (spec,) = [spec for spec in registry.specs(offline=True) if spec["name"] == "boil"]
    assert spec["x-offline"]["lists"] == {"count": {"1": "(a|an)", "2": "(zwei|ein paar)"}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[boil", "kitchen.de.toml"),
        ('[boil]\nsentences = "koche"', "sentences is a list"),
        ('[boil]\nsentences = ["koche {zahl} eier"]', "{zahl} is not a parameter"),
        ('[boil]\nsentence = ["koche"]', "has no sentence"),
        ("boil = 3", "is a table"),
    ],
)
def test_a_broken_translation_is_one_line_and_stays_english(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, problem: str
) -> None:
    registry = of_author(tmp_path, text)
    (spec,) = [spec for spec in registry.specs(offline=True) if spec["name"] == "boil"]
    assert spec["x-offline"]["sentences"] == ["boil {count} eggs"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert problem in line
    registry.specs(offline=True)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1, "said once"


# --- catalogues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("One. Two.", "Eins. Two."),
        ("one.", "Eins."),
        ("a, b and c", "a, b und c"),
        ("a right. b right.", "a rechts. b rechts."),
        ("x is x", "x gleich"),
        ("x is y", "x ist y"),
        ("nothing", "nothing"),
        ("", ""),
        ("(a+b) left", "(a+b) übrig"),
    ],
)
def test_a_catalogue(text: str, translated: str) -> None:
    says = {
        "One.": "Eins.",
        "{most} and {last}": "{most} und {last}",
        "{one} is {one}": "{one} gleich",
        "{one} is {two}": "{one} ist {two}",
        "{what} left": "{what} übrig",
        "{what} right.": "{what} rechts.",
        "{bad} hole": "{other}",
    }
    assert Catalogue(says).translate(text) == translated


def test_holes_cannot_go_round_for_ever() -> None:
    assert Catalogue({"{a} {b}": "{b} {a}"}).translate(" ".join("abcdefgh" * 4))


def test_languages_are_plain_data() -> None:
    check: Callable[[Language], bool] = lambda it: all(isinstance(text, str) for text in it.phrases.values())  # noqa: E731
    assert all(check(language(code)) for code in CODES)
    assert {"en", "de"} <= set(CODES)
