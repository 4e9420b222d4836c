"""Settings: precedence of their sources, plain errors, and what a Space changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline import registry
from pipeline.transports.ice import IceServer, Reach, turn_with_secret
from pipeline.turn_context import Choice
from portal.backends import backend_choices, backend_options, new_engine
from portal.setting_loading import load_settings, unknown_variables
from portal.setting_sources import SettingsError, surroundings
from portal.settings import Settings, option_name
from tests.portraits import portrait_bundle


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside; the data folder is an empty one."""
    for name in list(os.environ):
        if name.startswith("VIVAVOCE_") or name in ("SPACE_ID", "PORT", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "vivavoce.toml").write_text(text, encoding="utf-8")


def test_file_gives_way_to_environment_and_that_to_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """file < environment < command line."""
    write(tmp_path, "port = 1001\nmax_sessions = 1\njpeg_quality = 41\n")
    monkeypatch.setenv("VIVAVOCE_PORT", "1002")
    monkeypatch.setenv("VIVAVOCE_MAX_SESSIONS", "2")
    settings = load_settings({"port": "1003"})
    assert (settings.port, settings.max_sessions, settings.jpeg_quality) == (1003, 2, 41)


def test_vivavoce_data_moves_the_data_folder(tmp_path: Path) -> None:
    """VIVAVOCE_DATA names the folder of avatars, weights and of the settings file itself."""
    settings = load_settings()
    assert settings.data_dir == tmp_path
    assert settings.weights_folder == tmp_path / "weights"


def test_another_settings_file_can_be_named(tmp_path: Path) -> None:
    """--config reads that file instead of the data folder's."""
    write(tmp_path, "port = 1001\n")
    other = tmp_path / "other.toml"
    other.write_text("max_sessions = 3\n")
    settings = load_settings({"config": str(other)})
    assert (settings.port, settings.max_sessions) == (7860, 3)


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    """A settings file that was asked for has to exist; the data folder's need not."""
    assert load_settings().port == 7860
    with pytest.raises(SettingsError, match="no settings file"):
        load_settings({"config": str(tmp_path / "absent.toml")})


def test_an_unknown_name_in_the_file_suggests_the_right_one(tmp_path: Path) -> None:
    """A slip in the file is an error that names the file and the nearest setting."""
    write(tmp_path, "jpeg_qualty = 60\n")
    with pytest.raises(
        SettingsError, match=r"vivavoce\.toml has an unknown setting 'jpeg_qualty'\. Did you mean 'jpeg_quality'"
    ):
        load_settings()


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    """Broken TOML names the place."""
    write(tmp_path, "port: 80\n")
    with pytest.raises(SettingsError, match=r"no TOML: .*line 1"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": "70000"}, "The option --port cannot be '70000': input should be less than or equal to 65535"),
        ({"open_browser": "perhaps"}, "The option --browser cannot be 'perhaps'"),
        (
            {"tts": "nobody"},
            "The option --tts cannot be 'nobody': there is no such backend; choose one of: auto, hibari",
        ),
        ({"transport": "pigeon"}, "The option --transport cannot be 'pigeon'"),
    ],
)
def test_a_bad_value_names_option_and_remedy(given: dict[str, str], message: str) -> None:
    """The error says where the value was given and what would do."""
    with pytest.raises(SettingsError) as caught:
        load_settings(given)
    assert str(caught.value).startswith(message)


def test_how_long_models_and_voices_are_waited_for_is_a_setting() -> None:
    """Silence of a model, its thinking, and silence of a voice, each for itself."""
    given = {"llm_timeout_s": "7", "llm_thinking_timeout_s": "1800", "tts_timeout_s": "5"}
    settings = load_settings(given)
    engine = new_engine(settings)
    engine.executor.shutdown()
    assert (engine._limits.wordless_s, engine._limits.speechless_s) == (1800, 5)
    assert backend_options(settings)["llm", "openai"]["timeout_s"] == 7
    for name in given:
        with pytest.raises(SettingsError, match="greater than 0"):
            load_settings({name: "0"})


def test_a_services_key_and_address_are_of_the_chosen_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers may choose another voice, and its service is another company's, or whatever listens at a usual port."""
    monkeypatch.setenv("VIVAVOCE_TTS_API_KEY", "the key")
    given = {"tts": "elevenlabs", "tts_base_url": "https://voices.example", "tts_voices": "anna"}
    options = backend_options(load_settings(given))
    told = {
        name for (kind, name), values in options.items() if kind == "tts" and values.keys() & {"api_key", "base_url"}
    }
    assert told == {"elevenlabs"}
    assert options["tts", "elevenlabs"]["api_key"] == "the key"


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ({}, True),
        ({"host": "localhost", "tts": "hibari"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"password": "a long password"}, False),
        ({"trusted_hosts": "portal.example.org"}, False),
        ({"host": "0.0.0.0", "tts": "cosyvoice"}, True),
        ({"host": "0.0.0.0", "tts_services": "xtts, cosyvoice"}, True),
    ],
)
def test_viewers_have_text_sent_to_services_that_somebody_set_up(
    tmp_path: Path, given: dict[str, object], offered: bool
) -> None:
    """At ports of the portal's machine may be anything. Whoever has the portal alone may choose what they run there."""
    options = backend_options(load_settings({"data_dir": tmp_path, **given}))
    found = {choice.name: choice for choice in backend_choices("tts", options)}
    assert found["cosyvoice"].ready == offered
    if not offered:
        lacking = found["cosyvoice"].lacking
        assert lacking is not None and "not set up" in lacking.message and "tts_services" in lacking.hint
        assert not any(found[row.name].ready for row in registry.rows("tts") if row.looked_for_here)


def test_nobody_need_ever_be_sent_away() -> None:
    """For a page that nobody attends to: 0 means never, and less than that nothing."""
    assert load_settings({"session_idle_timeout_s": "0"}).session_idle_timeout_s == 0
    with pytest.raises(SettingsError, match="greater than or equal to 0"):
        load_settings({"session_idle_timeout_s": "-1"})


def test_a_bad_value_names_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from the environment or the file is looked for there, not on the command line."""
    monkeypatch.setenv("VIVAVOCE_PORT", "http")
    with pytest.raises(SettingsError, match="The environment variable VIVAVOCE_PORT cannot be 'http'"):
        load_settings()
    monkeypatch.delenv("VIVAVOCE_PORT")
    write(tmp_path, "port = -1\n")
    with pytest.raises(SettingsError, match="The setting 'port' cannot be -1"):
        load_settings()


def test_an_unknown_variable_is_pointed_out(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VIVAVOCE_ variable that is no setting has no effect, and that is said."""
    monkeypatch.setenv("VIVAVOCE_MAX_SESIONS", "3")
    assert unknown_variables(os.environ) == ["VIVAVOCE_MAX_SESIONS"]
    load_settings()
    assert "Did you mean 'max_sessions'?" in caplog.text


def test_fields_of_a_voice_are_a_table_or_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings file has a table; the environment and the command line have JSON; anything else is named."""
    write(tmp_path, '[tts_options]\nprompt_text = "Hello, you."\nspeed = 1.1\n')
    assert load_settings().tts_options == {"prompt_text": "Hello, you.", "speed": 1.1}
    monkeypatch.setenv("VIVAVOCE_TTS_OPTIONS", '{"speed": 1.2}')
    assert load_settings().tts_options == {"speed": 1.2}
    for bad in ("speed=1.1", "[1, 2]"):
        with pytest.raises(SettingsError, match="tts-options") as caught:
            load_settings({"tts_options": bad})
        assert "JSON" in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    """Settings are frozen: who holds them may rely on them."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key does not appear where settings are logged or printed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    settings = load_settings()
    assert settings.llm_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in f"{settings!r} {settings}"


def test_our_key_beats_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY is what the surroundings say; a setting of ours is stronger."""
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("VIVAVOCE_LLM_API_KEY", "ours")
    assert load_settings().llm_api_key.get_secret_value() == "ours"


def test_no_ice_server_is_a_hidden_default() -> None:
    """Nothing outside is asked unless it was set."""
    assert load_settings().ice_servers(0) == ()


def test_stun_and_turn_become_ice_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists may be written with commas or spaces; TURN carries its credentials."""
    monkeypatch.setenv("VIVAVOCE_TURN_URLS", "turn:a:3478, turns:a:5349")
    settings = load_settings({"stun_urls": ["stun:b"], "turn_username": "me", "turn_password": "pw"})
    assert settings.ice_servers(0) == (
        IceServer(("stun:b",)),
        IceServer(("turn:a:3478", "turns:a:5349"), "me", "pw"),
    )


def test_with_a_turn_secret_credentials_end_by_themselves() -> None:
    """They are valid from now for turn_lifetime_s; the secret itself goes to nobody."""
    settings = load_settings({"turn_urls": ["turn:a"], "turn_secret": "north", "turn_lifetime_s": 300})
    (server,) = settings.ice_servers(1_800_000_000.9)
    assert server == turn_with_secret(("turn:a",), "north", "vivavoce", 1_800_000_300)
    assert "north" not in repr(server)


def test_a_space_is_open_on_its_port_and_starts_with_the_websocket(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Space: 0.0.0.0:7860, no browser, WebSocket, since no UDP comes in."""
    monkeypatch.setenv("SPACE_ID", "someone/vivavoce")
    settings = load_settings()
    assert (settings.host, settings.port, settings.open_browser) == ("0.0.0.0", 7860, False)
    assert settings.transport == "websocket"


def test_a_space_with_turn_tries_webrtc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a TURN server WebRTC can work on a Space, so it is tried first there too."""
    monkeypatch.setenv("SPACE_ID", "someone/vivavoce")
    write(tmp_path, 'turn_urls = ["turn:a"]\n')
    assert load_settings().transport == "auto"
    write(tmp_path, 'turn_service = "none"\n')
    assert load_settings().transport == "websocket"
    write(tmp_path, 'turn_service = "cloudflare"\nturn_service_key = "a"\nturn_service_token = "b"\n')
    assert load_settings().transport == "auto"


def test_what_is_set_beats_what_a_space_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT moves a Space's port; every real setting is stronger than the surroundings."""
    monkeypatch.setenv("SPACE_ID", "someone/vivavoce")
    monkeypatch.setenv("PORT", "8080")
    assert load_settings().port == 8080
    monkeypatch.setenv("VIVAVOCE_HOST", "127.0.0.1")
    assert load_settings({"port": 9090}).port == 9090
    assert load_settings().host == "127.0.0.1"


def test_a_space_is_shown_in_a_frame_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Space's page frames the portal, which only its proxy can reach; a container's neighbours may be proxies."""
    monkeypatch.setenv("SPACE_ID", "someone/vivavoce")
    monkeypatch.setenv("SPACE_HOST", "someone-vivavoce.hf.space")
    settings = load_settings()
    assert settings.allowed_origins == ("https://huggingface.co",)
    assert settings.trusted_hosts == ("someone-vivavoce.hf.space",) and settings.trusted_proxies == ("*",)
    assert surroundings({}, turn=False) == {}
    assert "172.16.0.0/12" in surroundings({}, turn=False, is_container=True)["trusted_proxies"]


def test_settings_travel_to_the_worker_as_json(tmp_path: Path) -> None:
    """The worker process gets the same settings, wherever it is started: keys and passwords as they are."""
    secrets = {
        name: f"the secret of {name}, long enough"
        for name, field in Settings.model_fields.items()
        if field.annotation is SecretStr
    } | {"database_url": "postgresql://me:topsecret@database:5432/vivavoce"}
    assert {"tts_api_key", "password", "token_secret"} <= secrets.keys()
    settings = load_settings({"max_sessions": 3, "turn_urls": "turn:a", **secrets})
    assert Settings.model_validate_json(settings.with_secrets()) == settings
    assert settings.tts_api_key.get_secret_value() == secrets["tts_api_key"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_secret", "short"),
        ("database_url", "mysql://me:topsecret@database/vivavoce"),
        ("database_url", "postgresql://me:topsecret@database"),
        ("database_url", "postgresql://me:topsecret@[database/vivavoce"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(name: str, value: str) -> None:
    """Who sees the error, or the log that keeps it, learns what is wrong with it and nothing of it."""
    with pytest.raises(SettingsError, match="cannot be used") as told:
        load_settings({name: value})
    assert value not in told.value.message and "topsecret" not in told.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("webrtc_ports", value) for value in ("40000", "40999-40000", "80-90", "40000-70000", "4e4-5e4", "1-2-3")),
        *(("webrtc_address", value) for value in ("avatar.example.org", "127.0.0.1", "0.0.0.0", "203.0.113.7/32")),
    ],
)
def test_where_nobody_could_be_reached_is_refused_at_the_start(name: str, value: str) -> None:
    """With how to write it."""
    with pytest.raises(SettingsError, match="write it") as told:
        load_settings({name: value})
    assert name.replace("_", "-") in told.value.message or name in told.value.message


def test_a_range_of_ports_has_both_its_ends() -> None:
    """By itself, or with an address."""
    reach = load_settings({"webrtc_ports": "40000-40999", "webrtc_address": "203.0.113.7"}).reach
    assert reach == Reach("203.0.113.7", range(40_000, 41_000))
    assert load_settings().reach == Reach()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"turn_service": "cloudflare"}, "turn_service_key"),
        ({"turn_service": "twilio", "turn_service_key": "AC1"}, "turn_service_token"),
        ({"turn_service": "twilio", "turn_service_token": "topsecret"}, "turn_service_key"),
        ({"turn_service": "twilio", "turn_service_key": "../1", "turn_service_token": "topsecret"}, "letters"),
    ],
)
def test_a_turn_service_needs_key_and_token(given: dict[str, str], said: str) -> None:
    """A portal that lacks one does not start; the token is not repeated."""
    with pytest.raises(SettingsError, match=said) as told:
        load_settings(given)
    assert "topsecret" not in told.value.message
    assert load_settings().turn_lender() is None


def test_every_setting_explains_itself() -> None:
    """Each field has a description, which is its help, and numbers carry their unit in their name."""
    units = (
        "_s",
        "_ms",
        "_tokens",
        "_a_minute",
        "_bytes",
        "_bps",
        "_px",
        "_speed",
        "port",
        "max_sessions",
        "sessions_per_address",
        "jobs_per_address",
        "max_connections",
        "jpeg_quality",
        "sharpen",
    )
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert name.endswith(units), name


def test_options_are_named_after_fields() -> None:
    """max_sessions becomes max-sessions; the one exception reads --no-browser."""
    assert option_name("max_sessions") == "max-sessions"
    assert option_name("open_browser") == "browser"


def test_the_bound_on_a_conversation_may_be_given_as_before() -> None:
    """llm_history_characters of earlier versions still works; what it allowed in English is allowed now."""
    assert load_settings({}).history_tokens == 4_000
    assert load_settings({"llm_history_tokens": "900"}).history_tokens == 900
    assert load_settings({"llm_history_characters": "12000"}).history_tokens == 4_000


@pytest.mark.parametrize("acting", [True, False])
async def test_heads_act_unless_the_operator_switches_it_off(tmp_path: Path, acting: bool) -> None:
    """`acting` decides whether an avatar's face is moved with its speech; the default is that it is."""
    assert Settings(data_dir=tmp_path).acting
    engine = new_engine(Settings(data_dir=tmp_path, acting=acting, device=("cpu",)))
    await engine.start()
    bundle = portrait_bundle(tmp_path / "woman", "woman")
    context = await engine.context_for(bundle, Choice(llm="echo", tts="beep", lipsync="flash"))
    assert (context.face is not None) == acting
    await engine.aclose()
