"""The plugin set: what it accepts, how it calls, whom it blames; one test for every hook."""

from __future__ import annotations

import inspect
import types
from pathlib import Path

import attrs
import cattrs
import pytest

from durableflow import hookspecs
from durableflow.errors import PluginError
from durableflow.hookspecs import hookimpl
from durableflow.hub.channel import Channel
from durableflow.plugins import PluginSet
from durableflow.protocol.traces import TraceContext
from durableflow.routing import Abandon, ExactVersionRouting, Fail, Run, VersionRequest

REQUEST = VersionRequest("order", "1.0", "instance")


@pytest.fixture
def plugins():
    return PluginSet()


@attrs.frozen
class Recorder:
    """Notes what happens to it."""

    calls: list[tuple] = attrs.field(factory=list)

    @hookimpl
    def init_app(self, app):
        self.calls.append(("init_app", app))

    @hookimpl
    def app_opened(self, app):
        self.calls.append(("app_opened", app))

    @hookimpl
    def app_closed(self, app):
        self.calls.append(("app_closed", app))

    @hookimpl
    def worker_started(self, app, hub_description):
        self.calls.append(("worker_started", app, hub_description))

    @hookimpl
    def worker_stopping(self, app):
        self.calls.append(("worker_stopping", app))

    @hookimpl
    def turn_finished(self, turn):
        self.calls.append(("turn_finished", turn))

    @hookimpl
    def activity_started(self, activity):
        self.calls.append(("activity_started", activity))

    @hookimpl
    def activity_finished(self, activity):
        self.calls.append(("activity_finished", activity))

    @hookimpl
    def instances_purged(self, instance_ids):
        self.calls.append(("instances_purged", instance_ids))


@pytest.fixture
def recorder(plugins):
    recorder = Recorder()
    plugins.register(recorder)
    return recorder


@attrs.frozen
class Answering:
    """Answers the routing hooks with whatever it was made with."""

    answer: object

    @hookimpl
    def resolve_start_version(self):
        return self.answer

    @hookimpl
    def resolve_version(self):
        return self.answer

    @hookimpl
    def work_item_versions(self):
        return self.answer

    @hookimpl
    def resolve_trace_context(self):
        return self.answer


@attrs.frozen
class Failing:
    """Raises from every hook."""

    @hookimpl
    def init_app(self):
        raise ValueError("out of order")

    @hookimpl
    def resolve_version(self):
        raise ValueError("out of order")

    @hookimpl
    def app_opened(self):
        raise ValueError("out of order")

    @hookimpl
    def app_closed(self):
        raise ValueError("out of order")

    @hookimpl
    def turn_finished(self):
        raise ValueError("out of order")

    @hookimpl
    def activity_started(self):
        raise ValueError("out of order")

    @hookimpl
    def activity_finished(self):
        raise ValueError("out of order")

    @hookimpl
    def instances_purged(self):
        raise ValueError("out of order")

    @hookimpl
    def register_cleanups(self):
        raise ValueError("out of order")


# ---- the hooks


def test_hook_init_app_meets_every_plugin_once_whenever_it_comes(plugins):
    early, late = Recorder(), Recorder()

    plugins.register(early)
    plugins.init_app("app")
    plugins.register(late)
    plugins.init_app("app")

    assert early.calls == late.calls == [("init_app", "app")]


def test_hook_configure_converter_changes_the_converter_it_is_given(plugins):
    @attrs.frozen
    class Paths:
        @hookimpl
        def configure_converter(self, converter):
            converter.register_unstructure_hook(Path, lambda path: str(path))

    plugins.register(Paths())
    converter = cattrs.Converter()
    plugins.configure_converter(converter)

    assert converter.unstructure(Path("a")) == "a"


@attrs.frozen
class Engine:
    scheme: str
    port: int = 1

    @hookimpl
    def register_task_hubs(self):
        return {self.scheme: f"factory of {self.scheme}"}


def test_hook_configure_channel_changes_the_channel_it_is_given(plugins):
    class Tracing:
        @hookimpl
        def configure_channel(self, channel):
            channel.metadata.append(("x-trace", channel.role))

    plugins.register(Tracing())
    channel = Channel(target="localhost:1", role="worker")

    plugins.configure_channel(channel)

    assert channel.metadata == [("x-trace", "worker")]


def test_hook_register_task_hubs_collects_schemes_of_all_plugins(plugins):
    plugins.register(Engine("one"))
    plugins.register(Engine("two"))

    assert plugins.task_hub_factories("app") == {"one": "factory of one", "two": "factory of two"}


def test_a_scheme_of_two_plugins_is_refused_with_both_names(plugins):
    plugins.register(Engine("one", 1), "first")
    plugins.register(Engine("one", 2), "second")

    with pytest.raises(PluginError, match="scheme 'one'") as caught:
        plugins.task_hub_factories("app")

    assert "'first'" in str(caught.value)
    assert "'second'" in str(caught.value)


@attrs.frozen(eq=False)
class Letters:
    """A codec, and the plugin that brings it."""

    letter: str

    @hookimpl
    def register_payload_codecs(self):
        return [self]

    def encodes(self, field, text):
        return True

    def encode(self, field, text, *, instance_id):
        return self.letter + text

    def decodes(self, field, text):
        return text.startswith(self.letter)

    def decode(self, field, text, *, instance_id):
        return text.removeprefix(self.letter)


def test_hook_register_payload_codecs_collects_them_in_the_order_of_registration(plugins):
    first, second = Letters("1"), Letters("2")
    plugins.register(first)
    plugins.register(second)

    assert plugins.payload_codecs("app") == (first, second)


def test_no_codecs_are_none(plugins):
    assert plugins.payload_codecs("app") == ()


def test_what_is_no_codec_is_refused_with_its_plugin(plugins):
    class Wrong:
        @hookimpl
        def register_payload_codecs(self):
            return ["gzip"]

    plugins.register(Wrong(), "squeeze")

    with pytest.raises(PluginError, match=r"PayloadCodec.*'squeeze'"):
        plugins.payload_codecs("app")


def test_hook_resolve_start_version_takes_the_first_answer_of_the_last_plugin(plugins):
    plugins.register(ExactVersionRouting())
    plugins.register(Answering(None))

    assert plugins.resolve_start_version("order", "1.0", None, ()) == "1.0"

    plugins.register(Answering("2.0"))
    assert plugins.resolve_start_version("order", "1.0", None, ()) == "2.0"

    plugins.register(Answering(""))
    assert plugins.resolve_start_version("order", "1.0", None, ()) is None


def test_hook_resolve_version_lets_a_plugin_override_the_default(plugins):
    plugins.register(ExactVersionRouting())
    assert plugins.resolve_version(REQUEST, ("1.0", "2.0")) == Run("1.0")

    plugins.register(Answering(Fail("closed")))
    assert plugins.resolve_version(REQUEST, ("1.0", "2.0")) == Fail("closed")


def test_hook_work_item_versions_asks_for_what_the_plugin_says(plugins):
    plugins.register(ExactVersionRouting())
    assert plugins.work_item_versions("order", ("1.0", "2.0")) == ("1.0", "2.0")

    plugins.register(Answering(["", "9"]))
    assert plugins.work_item_versions("order", ("1.0", "2.0")) == ("", "9")


def test_hook_app_opened_tells_that_plugins_are_needed(plugins, recorder):
    plugins.app_opened("app")

    assert recorder.calls == [("app_opened", "app")]


def test_hook_app_closed_tells_that_they_are_not(plugins, recorder):
    plugins.app_closed("app")

    assert recorder.calls == [("app_closed", "app")]


def test_hook_worker_started_tells_where(plugins):
    recorder = Recorder()
    plugins.register(recorder)

    plugins.worker_started("app", "sqlite:////srv/orders.db")

    assert recorder.calls == [("worker_started", "app", "sqlite:////srv/orders.db")]


def test_hook_worker_stopping_tells_so(plugins):
    recorder = Recorder()
    plugins.register(recorder)

    plugins.worker_stopping("app")

    assert recorder.calls == [("worker_stopping", "app")]


def test_hook_resolve_trace_context_says_where_a_start_belongs(plugins):
    context = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert plugins.resolve_trace_context("order", "a") is None

    plugins.register(Answering(context))

    assert plugins.resolve_trace_context("order", "a") == context


def test_hook_turn_finished_tells_what_the_turn_came_to(plugins, recorder):
    plugins.turn_finished("turn")

    assert recorder.calls == [("turn_finished", "turn")]


def test_hook_activity_started_tells_which_one(plugins, recorder):
    plugins.activity_started("activity")

    assert recorder.calls == [("activity_started", "activity")]


def test_hook_activity_finished_tells_which_one(plugins, recorder):
    plugins.activity_finished("activity")

    assert recorder.calls == [("activity_finished", "activity")]


def test_hook_instances_purged_tells_their_ids(plugins, recorder):
    plugins.instances_purged(["a", "b"])

    assert recorder.calls == [("instances_purged", ["a", "b"])]


def test_hook_register_cleanups_offers_what_to_do_once_they_are_gone(plugins, caplog):
    done = []

    class Tidy:
        @hookimpl
        def register_cleanups(self, instance_ids):
            return lambda: done.append(list(instance_ids))

    class Untidy:
        @hookimpl
        def register_cleanups(self):
            return lambda: 1 / 0

    class Careless:
        @hookimpl
        def register_cleanups(self):
            return None

    for plugin in (Tidy(), Careless(), Untidy()):
        plugins.register(plugin)
    cleanups = plugins.cleanups(["a", "b"])
    assert done == []
    plugins.clean_up(cleanups)

    assert done == [["a", "b"]]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "hook",
    [
        "app_opened",
        "app_closed",
        "turn_finished",
        "activity_started",
        "activity_finished",
        "instances_purged",
    ],
)
def test_a_plugin_that_fails_to_take_note_is_logged_and_does_no_harm(plugins, hook, caplog):
    plugins.register(Failing(), "culprit")

    getattr(plugins, hook)("something")

    assert "'culprit', hook " + hook in caplog.text


def test_a_plugin_that_fails_to_offer_cleanups_is_logged_and_does_no_harm(plugins, caplog):
    plugins.register(Failing(), "culprit")

    assert plugins.cleanups(["a"]) == ()
    assert "'culprit', hook register_cleanups" in caplog.text


def test_without_plugins_every_hook_has_a_quiet_answer(plugins):
    plugins.init_app("app")
    plugins.configure_converter(cattrs.Converter())
    plugins.worker_started("app", "hub")
    plugins.worker_stopping("app")

    assert plugins.task_hub_factories("app") == {}
    assert plugins.resolve_start_version("order", "1.0", None, ()) == "1.0"
    assert plugins.resolve_start_version("order", "", None, ("1.0",)) is None
    assert plugins.work_item_versions("order", ("1.0",)) == (None,)
    assert isinstance(plugins.resolve_version(REQUEST, ("1.0",)), Abandon)


# ---- answers and errors


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("resolve_start_version", ("order", None, None, ())),
        ("resolve_version", (REQUEST, ("1.0",))),
        ("work_item_versions", ("order", ("1.0",))),
        ("resolve_trace_context", ("order", "a")),
    ],
)
def test_an_answer_of_another_type_names_hook_and_plugin(plugins, hook, arguments):
    plugins.register(Answering({"version": 1}), "guesser")

    with pytest.raises(PluginError, match="'guesser'") as caught:
        getattr(plugins, hook)(*arguments)

    assert hook in str(caught.value)


def test_text_is_no_list_of_versions(plugins):
    plugins.register(Answering("1.0"))

    with pytest.raises(PluginError, match="a tuple of text"):
        plugins.work_item_versions("order", ("1.0",))


def test_an_exception_out_of_a_plugin_gets_its_name(plugins):
    plugins.register(ExactVersionRouting())
    plugins.register(Failing(), "culprit")

    with pytest.raises(ValueError, match="out of order") as caught:
        plugins.resolve_version(REQUEST, ("1.0",))

    assert caught.value.__notes__ == [
        "This came from the durableflow plugin 'culprit', hook resolve_version."
    ]


def test_a_plugin_that_fails_to_meet_the_app_is_named(plugins):
    plugins.register(Failing(), "culprit")

    with pytest.raises(ValueError, match="out of order") as caught:
        plugins.init_app("app")

    assert "'culprit'" in caught.value.__notes__[0]


def test_a_late_plugin_that_fails_to_meet_the_app_is_named_and_not_kept(plugins):
    plugins.register(ExactVersionRouting())
    plugins.init_app("app")

    with pytest.raises(ValueError, match="out of order") as caught:
        plugins.register(Failing(), "culprit")

    assert "'culprit'" in caught.value.__notes__[0]
    assert plugins.resolve_version(REQUEST, ("1.0",)) == Run("1.0")


# ---- what is refused


class Misspelt:
    @hookimpl
    def resolve_versions(self): ...


class Misnamed:
    @hookimpl
    def worker_stopping(self, application): ...


class Asynchronous:
    @hookimpl
    async def resolve_version(self): ...


class Unmarked:
    def worker_stopping(self, app): ...


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Misspelt(), "unknown hook 'resolve_versions'"),
        (Misnamed(), "application"),
        (Asynchronous(), "`async def`"),
        (Unmarked(), "implements no hook"),
        (Recorder, r"Write Recorder\(\.\.\.\)"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused_by_name(plugins, plugin, reason):
    with pytest.raises(PluginError, match=reason) as caught:
        plugins.register(plugin)

    name = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    assert name in str(caught.value)


def test_a_plugin_that_does_not_fit_leaves_no_trace(plugins):
    @attrs.frozen
    class HalfRight(Recorder):
        @hookimpl
        def resolve_versions(self): ...

    plugin = HalfRight()
    plugins.init_app("app")
    with pytest.raises(PluginError):
        plugins.register(plugin)

    plugins.worker_stopping("app")

    assert plugin.calls == []


def test_the_same_plugin_is_not_registered_twice(plugins):
    plugins.register(Engine("one"))

    with pytest.raises(PluginError, match="or its equal, is registered already"):
        plugins.register(Engine("one"))


def test_two_plugins_of_one_class_are_told_apart(plugins):
    one, other = Recorder([("one",)]), Recorder([("other",)])
    plugins.register(one)
    plugins.register(other)

    plugins.worker_stopping("app")

    assert one.calls[-1] == other.calls[-1] == ("worker_stopping", "app")


def test_a_given_name_is_not_given_twice(plugins):
    plugins.register(Recorder([("one",)]), "audit")

    with pytest.raises(PluginError, match="'audit'"):
        plugins.register(Recorder([("other",)]), "audit")


def test_a_module_is_a_plugin_too(plugins):
    module = types.ModuleType("audit")
    seen = []

    @hookimpl
    def worker_stopping(app):
        seen.append(app)

    module.worker_stopping = worker_stopping
    plugins.register(module)
    plugins.worker_stopping("app")

    assert seen == ["app"]


# ---- what people are shown


def test_the_active_plugins_come_in_the_order_in_which_they_are_asked(plugins):
    plugins.register(ExactVersionRouting(), "first")
    plugins.register(Answering(None), "second")

    routing = ("resolve_start_version", "resolve_version", "work_item_versions")
    assert [(each.name, each.hooks) for each in plugins.active] == [
        ("second", tuple(sorted((*routing, "resolve_trace_context")))),
        ("first", routing),
    ]


def test_traced_calls_tell_who_was_asked_and_what_came_of_it(plugins, caplog):
    caplog.set_level("INFO")
    plugins.register(ExactVersionRouting(), "first")
    plugins.register(Answering(None), "second")
    plugins.trace()
    plugins.trace()

    plugins.resolve_version(REQUEST, ("1.0",))

    assert caplog.messages == [
        "Hook resolve_version(request, available): asked 'second', 'first' -> Run(version='1.0')"
    ]


def test_traced_calls_tell_what_a_plugin_raised_and_no_arguments(plugins, caplog):
    caplog.set_level("INFO")
    plugins.register(Failing(), "culprit")
    plugins.trace()

    with pytest.raises(ValueError, match="out of order"):
        plugins.resolve_version(REQUEST, ("secret",))

    assert "asked 'culprit' raised ValueError('out of order')" in caplog.text
    assert "secret" not in caplog.text


# ---- the catalogue


HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "durableflow_spec")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_does_when_and_with_what(hook):
    specification = getattr(hookspecs, hook)
    documentation = inspect.cleandoc(specification.__doc__)

    parameters = [name for name in specification.__annotations__ if name != "return"]
    assert "\nArgs:\n" in documentation
    assert all(f"    {name}: " in documentation for name in parameters)
    assert ("\nReturns:\n" in documentation) == (specification.__annotations__["return"] != "None")


@pytest.mark.parametrize("hook", HOOKS)
def test_the_verb_of_a_hook_tells_its_convention(hook):
    options = getattr(hookspecs, hook).durableflow_spec
    returns = getattr(hookspecs, hook).__annotations__["return"]
    verb, _, _ = hook.partition("_")

    assert options["historic"] == (verb == "init")
    assert options["firstresult"] == (verb in ("resolve", "work"))
    notified = ("app", "worker", "turn", "activity", "instances")
    assert (returns == "None") == (verb in ("init", "configure", *notified))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook):
    assert any(name.startswith(f"test_hook_{hook}_") for name in globals())
