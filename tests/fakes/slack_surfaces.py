"""``views``, ``assistant.threads`` and ``files``: what an app shows beside its messages."""

from __future__ import annotations

from tests.fakes import slack_events as events
from tests.fakes.slack_calls import Call, Methods, Refused, invalid
from tests.fakes.slack_chat import thread_of
from tests.fakes.slack_json import view_json
from tests.fakes.slack_limits import VIEW_BLOCKS, check_blocks, named
from tests.fakes.slack_world import JSON, File, View

methods = Methods()
TRIGGER_SECONDS = 3.0
LONGEST_ALT = 1000
ASSISTANT = ("assistant:write", "chat:write")


def _view(call: Call, user: str, kinds: tuple[str, ...]) -> View:
    """The view of a call, checked and with an id."""
    content = call.args["view"]
    if not isinstance(content, dict) or content.get("type") not in kinds:
        raise invalid("view must be an object of type " + " or ".join(kinds))
    check_blocks(content.get("blocks"), VIEW_BLOCKS)
    title = (content.get("title") or {}).get("text", "")
    if content["type"] == "modal" and not 1 <= len(title) <= 24:
        raise invalid("view.title must have 1 to 24 characters")
    blocks = named(call.world, content["blocks"])
    return View(call.world.id("V"), user, call.world.ts(), {**content, "blocks": blocks})


@methods.add("views.publish", "user_id", "view")
def publish(call: Call) -> JSON:
    """Put up somebody's home tab."""
    world, user = call.world, call.user("user_id")
    old = [view for view in world.views if view.user == user.id]
    if call.text("hash") and (not old or old[-1].hash != call.text("hash")):
        raise Refused("hash_conflict")
    view = _view(call, user.id, ("home",))
    if old:
        view.id = old[-1].id
    world.views.append(view)
    return {"view": view_json(world, view)}


@methods.add("views.open", "trigger_id", "view")
def open_modal(call: Call) -> JSON:
    """Open a modal before somebody who has just done something."""
    world = call.world
    at = world.triggers.pop(call.text("trigger_id"), None)
    if at is None:
        raise Refused("invalid_trigger_id")
    if world.now() - at > TRIGGER_SECONDS:
        raise Refused("expired_trigger_id")
    view = _view(call, "", ("modal",))
    world.modals.append(view)
    return {"view": view_json(world, view)}


@methods.add("views.update", "view")
def update_modal(call: Call) -> JSON:
    """Change a modal that is open."""
    world = call.world
    found = [view for view in world.modals if view.id == call.text("view_id")]
    if not found:
        raise Refused("not_found")
    if call.text("hash") and found[0].hash != call.text("hash"):
        raise Refused("hash_conflict")
    new = _view(call, found[0].user, ("modal",))
    found[0].content, found[0].hash = new.content, new.hash
    return {"view": view_json(world, found[0])}


@methods.add("assistant.threads.setStatus", "channel_id", "thread_ts", scopes=ASSISTANT)
def set_status(call: Call) -> JSON:
    """Say under a thread what the bot is doing; empty, or a reply, ends it."""
    if "status" not in call.args:
        raise invalid("missing required field: status")
    channel = call.channel("channel_id", write=True)
    thread = thread_of(call, channel)
    assert thread is not None
    call.world.statuses[channel.id, thread] = call.text("status")
    if not call.text("status"):
        del call.world.statuses[channel.id, thread]
    return {}


@methods.add("assistant.threads.setTitle", "channel_id", "thread_ts", "title", scopes=ASSISTANT)
def set_title(call: Call) -> JSON:
    """Name a thread of the assistant."""
    thread_of(call, call.channel("channel_id", write=True))
    call.world.assistant.append((call.method, call.args))
    return {}


@methods.add("assistant.threads.setSuggestedPrompts", "channel_id", "prompts", scopes=ASSISTANT)
def set_prompts(call: Call) -> JSON:
    """Offer up to four prompts."""
    thread_of(call, call.channel("channel_id", write=True))
    prompts = call.args["prompts"]
    if not isinstance(prompts, list) or len(prompts) > 4:
        raise invalid("prompts must have at most 4 items")
    if not all(prompt.get("title") and prompt.get("message") for prompt in prompts):
        raise invalid("each of the prompts needs a title and a message")
    call.world.assistant.append((call.method, call.args))
    return {}


@methods.add("files.getUploadURLExternal", "filename", "length", scopes=("files:write",))
def upload_url(call: Call) -> JSON:
    """Where to post the bytes of a new file."""
    length = call.text("length")
    if not length.isdigit() or length == "0":
        raise invalid("length must be a number above 0")
    if len(alt := call.text("alt_txt")) > LONGEST_ALT:
        raise Refused("alt_txt_too_large")
    file = File(call.world.id("F"), call.text("filename"), int(length), alt=alt)
    call.world.files[file.id] = file
    return {"upload_url": f"{call.world.base}/upload/v1/{file.id}", "file_id": file.id}


@methods.add("files.completeUploadExternal", "files", scopes=("files:write",))
def complete_upload(call: Call) -> JSON:
    """Share files that have been uploaded, or keep them to the bot."""
    world = call.world
    shared: list[JSON] = []
    for given in call.args["files"]:
        file = world.files.get(str(given.get("id")))
        if file is None or file.content is None or file.shared:
            raise Refused("file_not_found")
        file.title, file.shared = str(given.get("title") or file.name), True
        shared.append({"id": file.id, "title": file.title, "name": file.name,
                       "size": file.length, "user": world.bot.id, "mode": "hosted"})
    if call.text("channel_id"):
        channel = call.channel("channel_id", write=True)
        events.post(
            world, channel, world.bot, call.text("initial_comment"), files=shared,
            thread_ts=thread_of(call, channel), subtype="file_share",
        )
    return {"files": shared}
