"""Files: what an upload costs beside the least that takes it, and a picture in a turn."""

import asyncio
import os
from io import BytesIO
from statistics import median

import msgspec
from msgspec import Struct
from PIL import Image

from bench import targets
from bench.data import Prepared
from bench.databases import SQLITE
from bench.figures import Table, each
from bench.load import Request, post, run_load
from bench.runs import FLOOR, PATH, Bench, Chats, Load, kaiwa, kaiwa_on, measure
from bench.served import Served, serving_floor, serving_model

_SIZE = 10_000_000
_COUNT = 100
_AT_ONCE = 20
_TURNS = Load("20-0", at_once=4, questions=100)
_SIDE = 590
"""Pixels; so large a PNG of noise has 1 MB."""
_HEAD = b"%PDF-1.4\n"
_BOUNDARY = "kaiwa-bench"


class _Uploaded(Struct):
    id: str


async def uploads(bench: Bench) -> Table:
    """How fast, and by how much the server grows meanwhile."""
    table = Table(
        f"{_COUNT} uploads of {_SIZE // 1_000_000} MB, {_AT_ONCE} at once",
        "server",
        "MB a second (each round)",
        "× the floor",
        "target",
        "CPU per upload, ms",
        "memory above idle, MB",
        "target",
    )
    body = _HEAD + os.urandom(_SIZE - len(_HEAD))
    found: dict[str, list[tuple[float, float, float]]] = {}
    with serving_model() as model:
        for _ in range(bench.rounds):
            with serving_floor(model) as served:
                found.setdefault(FLOOR, []).append(
                    await _take(served, lambda _: _raw(body), status=201)
                )
            async with kaiwa(bench, model, SQLITE, Chats(_TURNS.model, 1)) as (served, [app]):
                found.setdefault(kaiwa_on(SQLITE), []).append(
                    await _take(served, _upload(app, "book.pdf", "application/pdf", body), 201)
                )
    floor = [rate for rate, _, _ in found[FLOOR]]
    for what, runs in found.items():
        rates = [rate for rate, _, _ in runs]
        ratio = median([mine / least for mine, least in zip(rates, floor, strict=True)])
        grown = max(memory for _, _, memory in runs)
        judged = what != FLOOR
        table.add(
            what,
            each(rates, 0),
            f"{ratio:.2f}",
            table.judge(what, targets.UPLOAD_RATE, ratio) if judged else "",
            f"{median([cpu for _, cpu, _ in runs]):.1f}",
            f"{grown:.0f}",
            table.judge(what, targets.UPLOAD_MEMORY, grown) if judged else "",
        )
    return table


async def pictures(bench: Bench) -> Table:
    """CPU of a turn with a picture of 1 MB against the same without."""
    table = Table(
        "A question with a picture of 1 MB, 20-token answers",
        "server",
        "CPU per message without, ms (each round)",
        "with, ms",
        "the picture, ms",
        "target",
    )
    picture = BytesIO()
    Image.frombytes("RGB", (_SIDE, _SIDE), os.urandom(3 * _SIDE * _SIDE)).save(picture, "PNG")
    with serving_model() as model:
        for database in bench.databases:
            plain: list[float] = []
            seen: list[float] = []
            async with kaiwa(bench, model, database, Chats(_TURNS.model, 1)) as (served, [app]):
                upload = _upload(app, "noise.png", "image/png", picture.getvalue())
                [heard] = await run_load(served.port, upload, at_once=1, questions=1)
                file = msgspec.json.decode(heard.body, type=_Uploaded).id
                for _ in range(bench.rounds):
                    for request, costs in ((_ask(app), plain), (_ask(app, file), seen)):
                        run = await measure(served, request, _TURNS, model, database)
                        assert not run.broken(_TURNS.tokens), run.broken(_TURNS.tokens)[0]
                        costs.append(run.cpu / _TURNS.questions * 1e3)
            added = median([mine - bare for mine, bare in zip(seen, plain, strict=True)])
            name = kaiwa_on(database)
            judged = table.judge(name, targets.PICTURE, added)
            table.add(name, each(plain, 2), each(seen, 2), f"{added:.2f}", judged)
    return table


async def _take(served: Served, request: Request, status: int) -> tuple[float, float, float]:
    """MB a second, CPU of one upload in ms, and MB of memory above what was there before."""
    await run_load(served.port, request, at_once=2, questions=4)
    await asyncio.to_thread(os.sync)  # what was written before costs nobody now
    sizes = [served.memory()]
    over = False

    async def watch() -> None:
        while not over:
            sizes.append(served.memory())
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        cpu, begun = served.cpu(), asyncio.get_running_loop().time()
        heard = await run_load(served.port, request, at_once=_AT_ONCE, questions=_COUNT)
        seconds = asyncio.get_running_loop().time() - begun
        cpu = served.cpu() - cpu
        over = True
    assert all(one.status == status for one in heard), (heard[0].status, heard[0].body)
    grown = (max(sizes) - sizes[0]) / 1e6
    return _COUNT * _SIZE / 1e6 / seconds, cpu / _COUNT * 1e3, grown


def _raw(body: bytes) -> bytes:
    head = f"POST /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _upload(app: Prepared, name: str, mime_type: str, content: bytes) -> Request:
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    user = 'Content-Disposition: form-data; name="user"\r\n\r\nbench'
    opening = (
        f"--{_BOUNDARY}\r\n{user}\r\n"
        f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: {mime_type}\r\n\r\n"
    )
    body = opening.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        f"POST /v1/files/upload HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {app.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    whole = head.encode() + body
    return lambda _: whole


def _ask(app: Prepared, *pictures: str) -> Request:
    """The pictures with each question, which begins a conversation: no earlier ones come along."""
    files = [
        {"type": "image", "transfer_method": "local_file", "upload_file_id": picture}
        for picture in pictures
    ]

    def request(number: int) -> bytes:
        body: dict[str, object] = {
            "inputs": {},
            "query": f"What do you see? {number}",
            "response_mode": "streaming",
            "user": "bench",
            "auto_generate_name": False,
            "files": files,
        }
        return post(PATH, app.key, body)

    return request
