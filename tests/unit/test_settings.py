"""Settings: precedence, origins, and words for what does not fit."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durableflow.errors import SettingsError
from durableflow.settings import SettingArguments, Settings, load_settings


@pytest.fixture
def load(tmp_path):
    def load(*, toml: str | None = None, environ=None, **arguments) -> Settings:
        if toml is not None:
            path = tmp_path / "durableflow.toml"
            path.write_text(toml)
            path.chmod(0o644)
        return load_settings(
            app_name="orders", root=tmp_path, arguments=arguments, environ=environ or {}
        )

    return load


def test_without_anything_the_hub_is_a_file_named_after_the_app(load, tmp_path):
    settings = load()

    assert settings.task_hub == "sqlite:///orders.db"
    assert settings.root == tmp_path
    assert set(settings.origins.values()) == {"default"}
    assert settings.warnings == settings.hidden == ()


def test_an_argument_wins_over_the_environment_which_wins_over_the_file(load, tmp_path):
    toml = 'task_hub = "sqlite:///f.db"\nsynchronous = "normal"\nsession_cache_count = 7\n'
    environ = {
        "DURABLEFLOW_TASK_HUB": "sqlite:///e.db",
        "DURABLEFLOW_SYNCHRONOUS": "full",
    }

    settings = load(toml=toml, environ=environ, task_hub="sqlite:///a.db")

    assert settings.task_hub == "sqlite:///a.db"
    assert settings.synchronous == "full"
    assert settings.session_cache_count == 7
    assert settings.origins["task_hub"] == "argument"
    assert settings.origins["synchronous"] == "environment DURABLEFLOW_SYNCHRONOUS"
    assert settings.origins["session_cache_count"] == (
        f"durableflow.toml ({tmp_path / 'durableflow.toml'})"
    )
    assert settings.origins["max_message_bytes"] == "default"


def test_an_argument_that_hides_the_environment_is_told(load):
    settings = load(environ={"DURABLEFLOW_TASK_HUB": "sqlite:///e.db"}, task_hub="sqlite://")

    (sentence,) = settings.hidden
    assert "task_hub given as an argument hides DURABLEFLOW_TASK_HUB" in sentence


def test_an_argument_that_says_the_same_hides_nothing(load):
    assert load(environ={"DURABLEFLOW_TASK_HUB": "sqlite://"}, task_hub="sqlite://").hidden == ()


def test_none_and_empty_text_stand_for_not_given(load):
    settings = load(environ={"DURABLEFLOW_SESSION_CACHE_COUNT": ""}, task_hub=None)

    assert settings.origins["task_hub"] == "default"
    assert settings.session_cache_count == 500


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_concurrent_activities", "8", 8),
        ("drain_timeout_seconds", "2.5", 2.5),
        ("on_nondeterminism", "FAIL", "fail"),
        ("task_hub", "grpc://localhost:4001", "grpc://localhost:4001"),
    ],
)
def test_the_environment_is_read_by_type(load, name, text, value):
    assert getattr(load(environ={f"DURABLEFLOW_{name.upper()}": text}), name) == value


def test_a_duration_is_a_timedelta_or_seconds(load):
    assert load(drain_timeout_seconds=timedelta(minutes=1)).drain_timeout_seconds == 60
    assert load(drain_timeout_seconds=5).drain_timeout_seconds == 5


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_concurrent_activities", 0, "a whole number from 1 to 2147483647"),
        ("max_concurrent_activities", 2**31, "a whole number from 1 to 2147483647"),
        ("max_concurrent_orchestrations", 10**400, "a whole number from 1"),
        ("max_message_bytes", 4 * 1024**3, "a whole number from 65536"),
        ("max_activity_processes", 0, "a whole number of at least 1"),
        ("turn_timeout_seconds", 0, "a number of seconds of more than 0"),
        ("turn_timeout_seconds", 10**400, "a number of seconds"),
        ("drain_timeout_seconds", -0.1, "a number of seconds of at least 0"),
        ("max_concurrent_activities", True, "a whole number"),
        ("max_concurrent_activities", "8", "a whole number"),
        ("max_concurrent_activities", 1.5, "a whole number"),
        ("drain_timeout_seconds", -1, "a number of seconds"),
        ("drain_timeout_seconds", float("nan"), "a number of seconds"),
        ("drain_timeout_seconds", "soon", "a number of seconds"),
        ("synchronous", "off", '"full" or "normal"'),
        ("on_nondeterminism", None, None),
        ("task_hub", 5, "a task-hub address"),
        ("task_hub", "", "a task-hub address"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(load, name, value, expected):
    if expected is None:
        load(**{name: value})
        return
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})

    assert f"{name} must be {expected}" in str(caught.value)
    assert "(argument)" in str(caught.value)


@pytest.mark.parametrize("text", ["many", "0", "1.5", "-3"])
def test_a_variable_that_does_not_fit_is_named(load, text):
    with pytest.raises(SettingsError, match="environment DURABLEFLOW_MAX_CONCURRENT_ACTIVITIES"):
        load(environ={"DURABLEFLOW_MAX_CONCURRENT_ACTIVITIES": text})


def test_a_variable_that_is_no_number_of_seconds_is_named(load):
    with pytest.raises(SettingsError, match="DURABLEFLOW_DRAIN_TIMEOUT_SECONDS"):
        load(environ={"DURABLEFLOW_DRAIN_TIMEOUT_SECONDS": "soon"})


def test_a_value_in_the_file_that_does_not_fit_names_the_file(load, tmp_path):
    with pytest.raises(SettingsError, match=r"durableflow\.toml"):
        load(toml='max_concurrent_activities = "8"')


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest(load):
    with pytest.raises(SettingsError, match="Did you mean task_hub"):
        load(toml='task-hub = "sqlite://"')


def test_an_unknown_argument_is_refused_with_the_nearest(load):
    with pytest.raises(SettingsError, match="Did you mean drain_timeout_seconds"):
        load(drain_timeout=3)


def test_an_unknown_variable_is_a_warning_with_the_nearest(load):
    settings = load(environ={"DURABLEFLOW_TASKHUB": "sqlite://", "UNRELATED": "1"})

    (sentence,) = settings.warnings
    assert "DURABLEFLOW_TASKHUB" in sentence
    assert "Did you mean DURABLEFLOW_TASK_HUB?" in sentence
    assert settings.task_hub == "sqlite:///orders.db"


def test_tables_and_variables_of_plugins_are_kept_for_them(load):
    settings = load(
        toml='[plugins.blob]\naccount = "x"\n[plugins.otel]',
        environ={"DURABLEFLOW_PLUGINS_BLOB_ACCOUNT": "y"},
    )

    assert settings.plugins == {"blob": {"account": "x"}, "otel": {}}
    assert settings.plugin_variables == {"BLOB_ACCOUNT": "y"}
    assert settings.warnings == ()


@pytest.mark.parametrize("toml", ['plugins = "blob"', "plugins = ['blob']", "[plugins]\nblob = 1"])
def test_plugins_that_are_no_tables_are_refused(load, toml):
    with pytest.raises(SettingsError, match=r"such as \[plugins\.blob\]"):
        load(toml=toml)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("On", True), ("0", False), ("no", False)]
)
def test_a_switch_is_read_from_words(load, text, value):
    assert load(environ={"DURABLEFLOW_TRACE_HOOKS": text}).trace_hooks is value


def test_what_is_no_switch_is_refused(load):
    with pytest.raises(SettingsError, match="trace_hooks must be true or false"):
        load(environ={"DURABLEFLOW_TRACE_HOOKS": "maybe"})
    with pytest.raises(SettingsError, match="trace_hooks must be true or false"):
        load(trace_hooks="yes")


@pytest.mark.parametrize("toml", ["task_hub = ", "a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_refused(load, toml):
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(toml=toml)


def test_a_file_in_another_encoding_is_refused(load, tmp_path):
    (tmp_path / "durableflow.toml").write_bytes(b'task_hub = "\xff"')

    with pytest.raises(SettingsError, match="not valid TOML"):
        load()


@pytest.mark.parametrize(
    ("toml", "arguments"),
    [
        (b"task_hub = ['Endpoint=https://x;AccessKey=hunter2']", {}),
        (b"task_hub = 'Endpoint=https://x;AccessKey=hunter2'\n# \xff", {}),
        (b"", {"task_hub": b"Endpoint=https://x;AccessKey=hunter2"}),
    ],
)
def test_no_error_shows_a_connection_string_nor_does_its_cause(load, tmp_path, toml, arguments):
    (tmp_path / "durableflow.toml").write_bytes(toml)

    with pytest.raises(SettingsError) as caught:
        load(**arguments)

    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_settings_do_not_show_the_connection_string(load):
    assert "hunter2" not in repr(load(task_hub="Endpoint=https://x;AccessKey=hunter2"))


def test_a_folder_in_place_of_the_file_is_refused(load, tmp_path):
    (tmp_path / "durableflow.toml").mkdir()

    with pytest.raises(SettingsError, match="cannot be read"):
        load()


def test_a_file_that_others_may_write_is_a_warning(load, tmp_path):
    (tmp_path / "durableflow.toml").write_text('task_hub = "sqlite://"')
    (tmp_path / "durableflow.toml").chmod(0o646)

    settings = load()

    (sentence,) = settings.warnings
    assert "may be written by others" in sentence
    assert "chmod go-w" in sentence
    assert settings.task_hub == "sqlite://"


def test_every_setting_can_be_given_in_every_way(load):
    # These are no settings but facts about them, or where they are looked for.
    about = {"root", "origins", "hidden", "warnings", "plugins", "plugin_variables"}
    names = {field.name for field in attrs.fields(Settings)} - about

    assert names == set(SettingArguments.__annotations__) == set(load().origins)


@given(
    given=st.sets(st.sampled_from(["argument", "environment", "file"])),
)
def test_the_first_of_argument_environment_file_decides(tmp_path_factory, given):
    root = tmp_path_factory.mktemp("root")
    if "file" in given:
        (root / "durableflow.toml").write_text("session_cache_count = 3")
    settings = load_settings(
        app_name="orders",
        root=root,
        arguments={"session_cache_count": 1} if "argument" in given else {},
        environ={"DURABLEFLOW_SESSION_CACHE_COUNT": "2"} if "environment" in given else {},
    )

    expected = {"argument": 1, "environment": 2, "file": 3}
    assert settings.session_cache_count == min((expected[g] for g in given), default=500)


def test_an_engines_limit_for_payloads_holds_unless_one_is_set(load):
    assert load().fitting(1024).max_payload_bytes == 1024
    assert load().fitting(None).max_payload_bytes == 16 * 1024 * 1024
    assert load(max_payload_bytes=2048).fitting(1024).max_payload_bytes == 2048


def test_a_port_is_one_that_there_is(load):
    assert load().health_port is None
    assert load(health_port=0).health_port == 0
    with pytest.raises(SettingsError, match="health_port must be a whole number from 0 to 65535"):
        load(health_port=65536)
