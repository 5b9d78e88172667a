"""The official JavaScript client against the real-time service, as an app would use it.

It is the very file that the demo page loads: the npm package's own build, which needs a WebSocket.
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from seda.settings import REPOSITORY
from tests.serving.serving_world import World
from tests.serving.test_realtime import running

CLIENT = REPOSITORY / "serving/demo/page/socket.io.esm.min.js"
SCRIPT = Path(__file__).with_name("javascript_client.mjs")
FLAG = "--experimental-websocket"  # Node 20 and 21 have it behind a flag


def _node() -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("No node on the PATH: the JavaScript client was not run.")
    for command in ([node], [node, FLAG]):
        asked = subprocess.run(
            [*command, "-p", "typeof WebSocket"], capture_output=True, text=True
        ).stdout
        if asked.strip() == "function":
            return command
    pytest.skip("This node has no WebSocket (20 or newer has): the JavaScript client was not run.")


async def _run(folder: Path, **arguments: object) -> dict[str, Any]:
    command = _node()
    shutil.copy(CLIENT, folder / "socket.io.mjs")
    shutil.copy(SCRIPT, folder)
    process = await asyncio.create_subprocess_exec(
        *command, str(folder / SCRIPT.name), json.dumps(arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        output, complaints = await asyncio.wait_for(process.communicate(), 30)
    except TimeoutError:
        process.kill()
        raise AssertionError((await process.communicate())[1].decode()) from None
    assert process.returncode == 0, complaints.decode()
    said: dict[str, Any] = json.loads(output)
    return said


async def test_it_connects_joins_and_is_toasted(world: World, tmp_path: Path) -> None:
    ada, ben, room = world.person("Ada"), world.person("Ben"), world.entity("room", "electronic")
    world.befriend(ada, ben)
    async with running(world) as service:
        said = await _run(
            tmp_path, url=service.url, token=world.token(ada), friend_token=world.token(ben),
            room_id=str(room.id),
        )  # fmt: skip
        await service.until("select count(*) from seda.room_presence", [(0,)])
    assert said["refused"]["data"]["status"] == 401
    assert said["refused"]["data"]["code"] == "unauthorized"
    assert said["refused"]["message"] == said["refused"]["data"]["detail"]
    assert said["transport"] == "websocket"
    assert said["joined"]["ok"] is True
    (told,) = said["presence"]["rooms"]
    assert (told["room_id"], told["text"]) == (str(room.id), "Ben is here — join them")
    assert (said["toast"]["room_id"], said["toast"]["text"]) == (str(room.id), told["text"])
    assert said["nowhere"]["ok"] is False
    assert said["nowhere"]["problem"]["code"] == "unknown_room"
    assert said["left"]["ok"] is True
    events = world.sql("select event_id::text, kind from seda.social_events order by id")
    assert events == [(said["joined"]["event_id"], "join"), (said["left"]["event_id"], "leave")]
