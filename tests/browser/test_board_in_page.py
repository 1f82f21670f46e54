"""The live board in Chromium: hostile words, ten thousand rows, the keyboard alone, and people who listen to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._board import widget as _board
from crew_nb._state import events as ev
from crew_nb._state import labels as _labels
from crew_nb._state.state import BatchState, RunState, advance, new_run
from crew_nb._state.usage import Usage
from tests.support.batches import TASKS, ZERO, failed_run, finished_run, fold
from tests.support.page import board_page
from tests.support.safety import ATTRIBUTES, TAGS, VECTORS
from tests.support.script import Script, table

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.page import BoardPage

MARK = """() => {
  window.ran = [];
  for (const name of ["alert", "confirm", "prompt", "msgbox", "open"]) window[name] = x => window.ran.push(name);
}"""
STRANGERS = """([tags, attributes]) => {
  const root = document.querySelector(".crew-nb");
  for (const e of root.querySelectorAll("*"))
    for (const name of ["mouseover", "pointerover", "load", "error", "animationstart", "toggle"])
      e.dispatchEvent(new Event(name));
  const found = [...root.querySelectorAll("script, img, iframe, style, object, embed, link, base, form, math, video")];
  return [
    ...window.ran,
    ...found.map(e => e.outerHTML),
    ...[...root.querySelectorAll("*")].flatMap(e => [...e.attributes].filter(a => a.name.startsWith("on"))).map(String),
    ...[...root.querySelectorAll("a[href]")].map(a => a.protocol)
      .filter(p => !["http:", "https:", "mailto:"].includes(p)),
    ...[...root.querySelectorAll(".cnb-md *")].filter(e => !tags.includes(e.localName)).map(e => e.outerHTML),
  ];
}"""


class Still:
    """A batch that stands still."""

    sweep = None

    def __init__(self, state: BatchState) -> None:
        self.held = state
        self.commands: list[tuple[str, dict[str, Any]]] = []

    def state(self) -> BatchState:
        """Always the same."""
        return self.held

    def table(self) -> list[dict[str, Any]]:
        """The rows of a file."""
        return table(self.held)

    def command(self, name: str, **args: Any) -> None:
        """Written down."""
        self.commands.append((name, args))


def hostile() -> BatchState:
    """Everything that comes from outside is a vector; in turn, a run is done, has failed, or speaks and waits."""
    runs: list[RunState] = []
    for vector in VECTORS:
        specs = tuple(replace(t, name=vector, agent=vector) for t in TASKS)
        at = len(runs)
        error = ev.ErrorInfo(type=vector, message=vector, traceback=vector, hint=vector)
        speaks = finished_run(at, vector, 0.0, words=vector)
        busy = replace(speaks, status="running", finished=None, output="")
        task = replace(busy.tasks[2], status="running", finished=None, text=vector, output="")
        busy = replace(busy, tasks=(*busy.tasks[:2], task))
        asks = ev.WaitStarted(run=at, at=ZERO + 9, key="w", reason="person", task=1, detail=vector)
        tool = ev.CallStarted(
            run=at, at=ZERO + 9, call="t", kind="tool", name=vector, task=2, agent=vector, detail=vector
        )
        made = [
            finished_run(at, vector, 0.0, words=vector),
            failed_run(at, vector, 0.0, error=error),
            advance(advance(busy, asks), tool),
        ]
        run = made[at % 3]
        tasks = tuple(replace(t, spec=s, agent=vector) for t, s in zip(run.tasks, specs, strict=True))
        runs.append(replace(run, label=f"topic={vector}", worker=vector, path="stock", why=vector, tasks=tasks))
    name = '../..\\evil"><script>alert(1)</script>.exe'
    return BatchState(key="k", name=name, runs=tuple(runs), created=ZERO, notes=tuple(VECTORS[:5]), limit_reason=name)


def scroll(page: BoardPage, to: float) -> bool:
    """Scroll, and say whether there is more below."""
    more: bool = page.page.evaluate(
        """to => { const view = document.querySelector(".crew-nb .cnb-scroll"); view.scrollTop = to;
                   return view.scrollTop + view.clientHeight < view.scrollHeight - 1 }""",
        to,
    )
    page.pump()
    return more


def test_hostile_words_do_nothing_in_any_view(browser: Browser) -> None:
    """The whole corpus through labels, names, tools, errors, streamed and final words, with every row opened."""
    source = Still(hostile())
    allowed = [sorted(TAGS), {tag: sorted(names) for tag, names in ATTRIBUTES.items()}]
    with board_page(browser, source, viewport={"width": 1100, "height": 15_000}, accept_downloads=True) as shown:
        page = shown.page
        page.evaluate(MARK)
        page.add_style_tag(content=".crew-nb .cnb-scroll { max-height: 14000px !important }")
        shown.pump()
        for name in ("timeline", "results", "log"):
            shown.tab(name)
            at = 0
            while scroll(shown, at):
                assert page.evaluate(STRANGERS, allowed) == []
                at += 13_000
        shown.tab("runs")
        unseen = set(range(len(VECTORS)))
        while unseen:
            page.evaluate("() => document.querySelectorAll('.cnb-open > [data-run]').forEach(r => r.click())")
            shown.pump(1)
            scroll(shown, 34 * min(unseen))
            page.evaluate(
                """first => [...document.querySelectorAll(".cnb-row[aria-expanded=false]")]
                    .filter(r => first <= r.dataset.run && r.dataset.run < first + 12).forEach(r => r.click())""",
                min(unseen),
            )
            shown.pump(3)
            drawn = page.evaluate(
                """() => [...document.querySelectorAll(".cnb-open")]
                    .filter(e => e.querySelector(".cnb-facts")).map(e => Number(e.dataset.item))"""
            )
            assert unseen & set(drawn)
            unseen -= set(drawn)
            assert page.evaluate(STRANGERS, allowed) == []
        shown.tab("results")
        for run in (0, 3):
            page.locator(f"[data-in=pick][data-run='{run}']").check()
        page.get_by_role("button", name="Compare 2").click()
        shown.pump()
        assert page.evaluate(STRANGERS, allowed) == []
        page.get_by_role("button", name="Back").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download as Markdown").click()
            shown.pump()
        assert download.value.suggested_filename == "-evil-script-alert-1-script-exe.md"
        assert shown.errors == []
        assert shown.outside == []


def test_ten_thousand_rows_scroll_and_are_searched(browser: Browser) -> None:
    """They come in bounded messages, a few are in the document, and the last one is found."""
    one = finished_run(0, "x", 0.0)
    runs = tuple(replace(one, index=i, label=f"topic=place {i}") for i in range(10_000))
    state = BatchState(key="k", name="many", runs=runs, created=ZERO, finished=ZERO + 8)
    with board_page(browser, Still(state)) as shown:
        page = shown.page
        assert max(shown.sizes) <= _board.ROOM + 2_000
        assert not scroll(shown, 1e9)
        page.locator('.cnb-row[data-run="9999"]').wait_for()
        assert page.locator(".cnb-item").count() < 60
        for name in ("timeline", "results", "log"):
            shown.tab(name)
            assert not scroll(shown, 1e9)
        shown.tab("runs")
        page.get_by_role("searchbox").fill("place 7777")
        shown.pump()
        assert page.locator(".cnb-shown").inner_text() == "1 of 10,000 shown"
        assert page.locator('.cnb-row[data-run="7777"]').is_visible()
        assert max(shown.sizes) <= _board.ROOM + 2_000
        assert shown.errors == []


def reach(shown: BoardPage, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(120):
        if shown.page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        shown.page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def test_every_action_by_keyboard(browser: Browser) -> None:
    """Pause, sort, filter, answer, stop and retry one run, zoom, compare, download: with Tab, arrows, Enter, Space."""
    script = Script(12, width=6, seed=8, failing=0.3, person=1)
    script.play(7)  # one failed, one asks, two are done
    with board_page(browser, script, accept_downloads=True) as shown:
        page, keys = shown.page, shown.page.keyboard

        def press(selector: str, key: str = "Enter") -> None:
            page.evaluate("() => document.activeElement.blur()")
            reach(shown, selector)
            keys.press(key)
            shown.pump()

        press("[data-act=pause]")
        press("[data-act=resume]", "Space")
        press("[data-act=retry-all]")
        press("[data-act=sort][data-sort=status]")
        first = page.locator("[role=columnheader][aria-sort=ascending]")
        assert first.inner_text().startswith("status")
        press("[data-in=problems]", "Space")
        assert page.locator(".cnb-shown").inner_text().endswith("of 12 shown")
        press("[data-in=problems]", "Space")
        press(".cnb-form textarea", "s")
        keys.type("horter")
        keys.press("Control+Enter")
        shown.pump()
        press("[data-act=approve]")

        def open_row(run: int) -> None:
            page.evaluate("() => document.activeElement.blur()")
            reach(shown, ".cnb-row[data-run]")
            keys.press("Home")
            shown.pump(1)
            while page.evaluate("() => document.activeElement.dataset.run") != str(run):
                keys.press("ArrowDown")
                shown.pump(1)
            keys.press("Enter")
            shown.pump()

        running = next(r.index for r in script.runs if r.status == "running")
        open_row(running)
        press(f"[data-act=cancel][data-run='{running}']")
        failed = next(r.index for r in script.runs if r.status == "failed")
        open_row(failed)
        press(f"[data-act=retry][data-run='{failed}']")
        assert script.commands == [
            ("pause", {}),
            ("resume", {}),
            ("retry", {}),
            ("answer", {"run": 1, "key": "1-p", "text": "shorter", "approve": False}),
            ("answer", {"run": 1, "key": "1-p", "text": "", "approve": True}),
            ("cancel", {"run": running}),
            ("retry", {"run": failed}),
        ]
        reach(shown, "[role=tab]")
        keys.press("ArrowRight")
        shown.pump()
        reach(shown, ".cnb-lane[tabindex='0']")
        keys.press("+")
        keys.press("ArrowRight")
        shown.pump()
        assert page.locator(".cnb-tip").is_visible()
        assert page.locator("[data-act=zoom-fit]").is_enabled()
        press("[role=tab][aria-selected=true]", "ArrowRight")
        ended = [r.index for r in script.runs if r.status == "done"][:2]
        for place in ended:
            press(f"[data-in=pick][data-run='{place}']", "Space")
        press("[data-act=compare]")
        assert page.locator(".cnb-column").count() == 2
        press("[data-act=compare-end]")
        with page.expect_download() as download:
            press("[data-act=file][data-format=csv]")
        assert download.value.suggested_filename == "research-sweep.csv"
        assert shown.errors == []


def test_those_who_listen_or_want_stillness(browser: Browser) -> None:
    """A hundred updates are said in a few words, and nothing moves where motion is reduced."""
    script = Script(40, width=8, seed=2)
    with board_page(browser, script, reduced_motion="reduce") as shown:
        shown.page.evaluate(
            """() => { window.said = [];
                new MutationObserver(() => said.push(document.querySelector(".cnb-voice").textContent))
                    .observe(document.querySelector(".cnb-voice"), { childList: true }); }"""
        )
        for tenth in range(1, 101):
            script.play(script.length * tenth / 100)
            shown.pump(1)
        said = shown.page.evaluate("() => said")
        assert said[-1] == "40 of 40 done"
        assert len(said) <= 5
        spans = "() => getComputedStyle(document.querySelector('.cnb-progress span')).transitionDuration"
        assert shown.page.evaluate(spans) == "0s"


def test_a_tooltip_comes_goes_and_stays_in_the_board(browser: Browser) -> None:
    """It is there while the pointer is on a bar, whole for the lowest lane too, and gone when the pointer is."""
    script = Script(8, width=8, seed=2)
    script.play(script.length)
    with board_page(browser, script) as shown:
        page = shown.page
        shown.tab("timeline")
        tip = page.locator(".cnb-tip")
        assert not tip.is_visible()
        root = page.locator(".crew-nb").bounding_box()
        assert root is not None
        for lane in (page.locator(".cnb-lanes .cnb-lane").first, page.locator(".cnb-lanes .cnb-lane").last):
            bar = lane.locator(".cnb-band").first.bounding_box()
            assert bar is not None
            page.mouse.move(bar["x"] + 3, bar["y"] + 3)
            box = tip.bounding_box()
            assert box is not None
            assert root["y"] <= box["y"]
            assert box["y"] + box["height"] <= root["y"] + root["height"]
        page.mouse.move(2, 2)
        assert not tip.is_visible()


def test_a_button_that_is_pressed_by_key_keeps_the_focus(browser: Browser) -> None:
    """Pause becomes Resume under the same focus; Stop goes when all is stopped, and the focus to the tab."""
    script = Script(4, width=4, seed=2)
    script.play(2)
    with board_page(browser, script) as shown:
        page, keys = shown.page, shown.page.keyboard
        page.locator("[data-act=pause]").focus()
        keys.press("Enter")
        shown.pump()
        assert page.evaluate("() => document.activeElement.textContent") == "Resume"
        keys.press("Enter")
        keys.press("Tab")
        shown.pump()
        keys.press("Enter")
        shown.pump()
        assert page.locator(".cnb-acts button").all_inner_texts() == ["Retry stopped (4)"]
        assert page.evaluate("() => document.activeElement.dataset.tab") == "runs"
        keys.press("Enter")
        assert [name for name, _ in script.commands] == ["pause", "resume", "cancel"]


def test_one_clock_and_one_count(browser: Browser) -> None:
    """Tried again after a while: the log, the axis and the head go by one clock, which stood still meanwhile."""
    events = [
        ev.RunStarted(run=0, at=ZERO + 1),
        ev.RunFinished(run=0, at=ZERO + 10, status="failed"),
        ev.RunQueued(run=0, at=ZERO + 990, attempt=2),
        ev.RunStarted(run=0, at=ZERO + 991),
        ev.RunFinished(run=0, at=ZERO + 1005, status="done", output="x"),
    ]
    run = fold(new_run(0, "topic=a", ZERO), events)
    state = BatchState(key="k", name="n", runs=(run,), created=ZERO, finished=ZERO + 1005)
    with board_page(browser, Still(state)) as shown:
        page = shown.page
        assert "0:25 elapsed" in " ".join(page.locator(".cnb-figure").all_inner_texts()).replace("\n", " ")
        shown.tab("log")
        assert page.locator(".cnb-line time").last.inner_text() == "0:25.0"
        shown.tab("timeline")
        marks = page.locator(".cnb-marks .cnb-track span").all_inner_texts()
        assert marks[-1] in ("0:20", "0:25")


def test_rows_that_are_on_their_way_are_not_counted_twice(browser: Browser) -> None:
    """A place that one run left and another took is one, also while only the second's row has come."""
    begun = advance(new_run(0, "topic=a", ZERO), ev.RunStarted(run=0, at=ZERO + 1))
    source = Still(BatchState(key="k", name="n", runs=(begun, new_run(1, "topic=b", ZERO)), created=ZERO))
    with board_page(browser, source) as shown:
        shown.tab("timeline")
        ended = advance(begun, ev.RunFinished(run=0, at=ZERO + 2, status="done", output="x"))
        second = advance(source.held.runs[1], ev.RunStarted(run=1, at=ZERO + 2))
        source.held = replace(source.held, runs=(ended, second))
        shown.board._sent["row", 0] = (ended, 99)  # as where a message had no room for it
        shown.board._sent["lane", 0] = (ended, 99)
        shown.pump()
        assert shown.page.locator(".cnb-overlap b").inner_text() == "1"


def reviews() -> BatchState:
    """Runs over texts that begin alike, products and stars; a third has a field of its own."""
    opening = "Review of what was bought in the shop around the corner: the lamp "
    words = [f"{opening}{'arrived in a box that was dented' if n % 2 else 'works as told'}, {n}" for n in range(6)]
    rows = [
        {"text": text, "product": "LD"[n % 2] * 4, "stars": str(n * 3), "shop": "B"} for n, text in enumerate(words)
    ]
    telling = _labels.telling(rows)
    one = finished_run(0, "x", 0.0)
    runs = [
        replace(one, index=n, label=_labels.label(part, row), columns=_labels.columns(part, row, telling))
        for n, (part, row) in enumerate(zip(_labels.parts(rows), rows, strict=True))
    ]
    return BatchState(key="k", name="reviews", runs=tuple(runs), created=ZERO, finished=ZERO + 8)


def test_each_input_that_varies_has_its_column(browser: Browser) -> None:
    """By which rows are sorted; the other views call the runs by the same values, and a narrow cell has them in one."""
    with board_page(browser, Still(reviews()), viewport={"width": 1400, "height": 800}) as shown:
        page = shown.page
        heads = page.locator(".cnb-cols [data-col=inputs]")
        assert heads.all_inner_texts() == ["text", "product", "stars"]
        cells = page.locator(".cnb-item").nth(3).locator(".cnb-inputs").all_inner_texts()
        assert cells == ["…dented, 3", "DDDD", "9"]
        for n in range(3):
            head, cell = heads.nth(n).bounding_box(), page.locator(".cnb-item").nth(3).locator(".cnb-inputs").nth(n)
            box = cell.bounding_box()
            assert head is not None
            assert box is not None
            assert abs(head["x"] - box["x"]) < 1
            assert cell.evaluate("e => e.scrollWidth <= e.clientWidth")
        heads.nth(2).get_by_role("button").click()
        heads.nth(2).get_by_role("button").click()
        shown.pump()
        assert page.locator(".cnb-item[data-item='5'] .cnb-row").get_attribute("aria-rowindex") == "2"
        shown.tab("timeline")
        assert page.locator(".cnb-shown").inner_text() == "sorted by stars ↓"
        name = "…dented, 5 · DDDD · 15"
        assert page.locator(".cnb-lanes .cnb-lanehead bdi").first.inner_text() == name
        assert page.locator(".cnb-marks .cnb-lanehead").inner_text() == "text · product · stars"
        shown.tab("results")
        assert page.locator(".cnb-card header bdi").nth(5).inner_text() == name
    with board_page(browser, Still(reviews()), viewport={"width": 700, "height": 800}) as shown:
        assert shown.page.locator(".cnb-cols [data-col=inputs]").all_inner_texts() == ["text · product · stars"]
        assert shown.page.locator(".cnb-item .cnb-inputs").last.inner_text() == name


def test_what_was_done_before_is_told_apart(browser: Browser) -> None:
    """A run from the record, and one that goes on after a task: in row, opened row, lane, log and in the figures."""
    took = Usage(total_tokens=1200)
    start = [ev.RunStarted(run=0, at=ZERO), ev.CrewReady(run=0, at=ZERO, tasks=TASKS, path="direct")]
    on = fold(new_run(0, "topic=a", ZERO), [*start, ev.TaskTaken(run=0, at=ZERO, task=0, output="x", usage=took)])
    on = advance(on, ev.TaskStarted(run=0, at=ZERO + 1, task=1))
    whole = ev.RunFinished(run=1, at=ZERO, status="done", output="kept", from_record=True, usage=took)
    runs = (on, advance(new_run(1, "topic=b", ZERO), whole))
    with board_page(browser, Still(BatchState(key="k", name="n", runs=runs, created=ZERO))) as shown:
        page = shown.page
        assert page.locator(".cnb-now .cnb-tag").all_inner_texts() == ["1 task taken over", "from the record"]
        figures = page.locator(".cnb-figures").inner_text().replace("\n", " ")
        assert "0 tokens spent 2,400 saved" in figures
        assert page.locator(".cnb-taken").get_attribute("aria-label") == "research: taken over (Researcher)"
        page.locator(".cnb-row[data-run='0']").click()
        shown.pump()
        assert "1 task taken over, 1,200 tokens saved" in page.locator(".cnb-facts").inner_text()
        assert page.locator(".cnb-taskcard .cnb-word").first.inner_text() == "taken over"
        shown.tab("timeline")
        assert page.locator(".cnb-lanes .cnb-lane").last.locator(".cnb-before").inner_text() == (
            "from the record, 1,200 tokens saved"
        )
        assert page.locator(".cnb-overlap svg").get_attribute("aria-label") == "At most 1 runs at once"
        assert len(page.locator(".cnb-overlap path").get_attribute("d") or "") > len("M0 24V24Z")
        assert page.locator(".cnb-lanes .cnb-lanehead small").all_inner_texts() == ["0", "↺ 1", "1"]
        shown.tab("log")
        said = page.locator(".cnb-line > bdi:last-child").all_inner_texts()
        assert said.count("research: taken over") == 1
        assert "research: done" not in said


def test_names_in_the_timeline_stay_in_their_bars(browser: Browser) -> None:
    """Or stand whole beside them; the last mark of the axis is whole, and every colour is named."""
    script = Script(8, width=8, seed=2)
    script.play(script.length)
    outside = """() => [...document.querySelectorAll(".cnb-band bdi:not(.cnb-beside)")].filter(e =>
        e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right + 1).map(e => e.textContent)"""
    cut = """() => { const edge = document.querySelector(".cnb-marks .cnb-track").getBoundingClientRect().right;
        return [...document.querySelectorAll(".cnb-marks .cnb-track span")]
            .filter(e => e.getBoundingClientRect().right > edge + 1).map(e => e.textContent) }"""
    for width in (420, 700, 1400):
        with board_page(browser, script, viewport={"width": width, "height": 800}) as shown:
            shown.tab("timeline")
            assert shown.page.evaluate(outside) == []
            assert shown.page.evaluate(cut) == []
            assert "failed" in shown.page.locator(".cnb-legend").inner_text()


IN_SIGHT = """() => { const box = document.querySelector(".cnb-scroll").getBoundingClientRect();
  return [...document.querySelectorAll(".cnb-item")].filter(e => {
    const { top, bottom } = e.getBoundingClientRect();
    return top >= box.top - 1 && bottom <= box.bottom + 1;
  }).map(e => Number(e.dataset.item)).sort((a, b) => a - b) }"""


def test_what_is_at_work_is_in_sight_and_moves_no_row_under_the_pointer(browser: Browser) -> None:
    """The list goes along while nobody is in it; else it stands still, and says what is at work and where."""
    script = Script(60, width=4, seed=2)

    def at_work() -> set[int]:
        return {run.index for run in script.runs if run.status in ("running", "waiting")}

    with board_page(browser, script) as shown:
        page = shown.page
        for part in (0.2, 0.4, 0.6):
            script.play(script.length * part)
            shown.pump()
            assert at_work() <= set(page.evaluate(IN_SIGHT))
            assert page.locator(".cnb-work button").count() == 0
        assert min(at_work()) > 20
        page.locator(".cnb-scroll").hover()
        before = page.evaluate(IN_SIGHT)
        script.play(script.length * 0.95)
        shown.pump()
        assert page.evaluate(IN_SIGHT) == before
        assert page.locator(".cnb-work button").inner_text() == f"at work: {len(at_work())} ↓"
        page.locator(".cnb-work button").click()
        shown.pump()
        assert at_work() <= set(page.evaluate(IN_SIGHT))
        assert page.locator(".cnb-work button").count() == 0
        page.mouse.move(5, 5)
        page.evaluate("() => { document.querySelector('.cnb-scroll').scrollTop = 0 }")
        shown.pump()
        script.play(script.length * 0.97)
        shown.pump()
        assert page.evaluate(IN_SIGHT)[0] == 0
        script.play(script.length)
        shown.pump()
        assert page.locator(".cnb-work button").count() == 0


def structured(n: int, why: str) -> BatchState:
    """A batch of structured outputs."""
    one = finished_run(0, "x", 0.0)
    text = '{{"place": "{}", "why": "{}"}}'
    runs = tuple(
        replace(
            one, index=i, label=f"place={i}", columns=(_labels.Column("place", str(i)),), output=text.format(i, why)
        )
        for i in range(n)
    )
    return BatchState(key="k", name="verdicts", runs=runs, created=ZERO, finished=ZERO + 8)


def test_a_table_is_filled_wherever_it_is_scrolled_to(browser: Browser) -> None:
    """Rows whose cards were never seen have their fields, too, and an input is told from a field of that name."""
    with board_page(browser, Still(structured(300, "because"))) as shown:
        page = shown.page
        shown.tab("results")
        page.get_by_role("button", name="Table").click()
        shown.pump()
        for to in (0, 4_000, 1e9):
            scroll(shown, to)
            shown.pump()
            places = page.locator("tbody tr[data-key]").evaluate_all(
                "rows => rows.map(r => [r.dataset.key, r.cells[2]?.innerText])"
            )
            assert len(places) >= 40 or to == 1e9
            assert [place for _, place in places] == [key for key, _ in places]
        assert page.locator(".cnb-sheet thead th").all_inner_texts() == ["run", "inputs.place", "place", "why"]
        assert shown.errors == []


def test_long_outputs_are_compared_and_copied_whole(browser: Browser) -> None:
    """A difference far behind what a card shows is found, and the clipboard has every character."""
    one = finished_run(0, "x", 0.0)
    texts = ["word " * 4_000 + end for end in ("*one*", "*two*")]
    runs = tuple(replace(one, index=i, label=f"topic={i}", output=text) for i, text in enumerate(texts))
    state = BatchState(key="k", name="long", runs=runs, created=ZERO, finished=ZERO + 8)
    copied = """() => { window.copied = []; const writeText = async text => copied.push(text);
                        Object.defineProperty(navigator, "clipboard", { value: { writeText } }); }"""
    with board_page(browser, Still(state)) as shown:
        page = shown.page
        page.evaluate(copied)
        shown.tab("results")
        assert "more characters are not shown here" in page.locator(".cnb-card").first.inner_text()
        page.get_by_role("button", name="Copy the output of run 1").click()
        shown.pump()
        assert page.evaluate("() => copied") == [texts[1]]
        for run in (0, 1):
            page.locator(f"[data-in=pick][data-run='{run}']").check()
        page.get_by_role("button", name="Compare 2").click()
        shown.pump(3)
        assert page.locator(".cnb-column ins").all_inner_texts() == ["two"]
        assert page.locator(".cnb-column del").all_inner_texts() == ["one"]
        assert page.locator(".cnb-column .cnb-left").count() == 0
        shown.tab("runs")
        page.locator('.cnb-row[data-run="0"]').click()
        shown.pump()
        page.locator(".cnb-output").get_by_role("button", name="Copy").click()
        shown.pump()
        assert page.evaluate("() => copied.at(-1)") == texts[0]
        assert max(shown.sizes) <= _board.ROOM + 2_000
        assert shown.errors == []


def ten_tasks() -> BatchState:
    """Runs of ten tasks, four of them at once, with long names."""
    names = [f"a task with a long name, number {n}" for n in range(10)]
    specs = tuple(ev.TaskSpec(name=name, agent="a", is_async=1 <= n <= 4) for n, name in enumerate(names))
    run = advance(new_run(0, "topic=AI", ZERO), ev.RunStarted(run=0, at=ZERO))
    run = advance(run, ev.CrewReady(run=0, at=ZERO, tasks=specs, path="direct"))
    run = advance(run, ev.TaskStarted(run=0, at=ZERO, task=0))
    run = advance(run, ev.TaskFinished(run=0, at=ZERO, task=0, output="x"))
    for task in (1, 2, 3):
        run = advance(run, ev.TaskStarted(run=0, at=ZERO, task=task))
    return BatchState(key="k", name="ten", runs=(run,), created=ZERO)


OVERLAPS = """() => {
  const found = [];
  for (const row of document.querySelectorAll(".cnb-item .cnb-row")) {
    const boxes = [...row.children, ...row.querySelectorAll(".cnb-task")].filter(e => e.checkVisibility())
      .map(e => [e.className, e.getBoundingClientRect()]).filter(([, b]) => b.width);
    const edge = row.getBoundingClientRect().right;
    for (const [name, a] of boxes) {
      if (a.right > edge + 1) found.push(`${name} over the edge`);
      for (const [other, b] of boxes)
        if (name === other && a !== b && a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 1 && b.top < a.bottom - 1)
          found.push(`${name} over ${other}`);
    }
  }
  return found;
}"""


def test_rows_are_whole_in_cells_of_any_width(browser: Browser) -> None:
    """Ten tasks do not overprint one another; in a narrow cell the words of now and of an error are still there."""
    script = Script(12, width=6, seed=8, failing=0.3)
    script.play(7)
    for source, said in ((Still(ten_tasks()), "1/10"), (script, "RateLimitError: 429")):
        for width in (340, 420, 600, 760, 900, 1600):
            with board_page(browser, source, viewport={"width": width + 18, "height": 800}) as shown:
                page = shown.page
                shown.pump()
                assert page.evaluate(OVERLAPS) == []
                assert page.locator(".cnb-item").first.get_by_text(said).first.is_visible() or source is script
                if source is script:
                    assert page.locator(".cnb-bad", has_text=said).first.is_visible()
                    filter_, tabs = page.locator(".cnb-filter").bounding_box(), page.locator(".cnb-tabs").bounding_box()
                    assert filter_ is not None
                    assert tabs is not None
                    assert filter_["y"] >= tabs["y"] + tabs["height"] or filter_["x"] >= tabs["x"] + tabs["width"]
                    shown.tab("log")
                    page.locator(".cnb-line").last.wait_for()
                    wide = page.locator(".cnb-line > bdi:last-child").last.bounding_box()
                    assert wide is not None
                    assert wide["width"] > 180


def test_what_streams_is_drawn_as_it_will_be_read(browser: Browser) -> None:
    """An opened row shows a heading, bold words and a list while they come, and never their marks."""
    answer = "## Robotics\n\nIts **signal** is *clear*:\n\n- **Risk** of `pace`\n- more words\n"
    spoken = finished_run(0, "Robotics", 0.0, words="")
    run = replace(spoken, status="running", finished=None, output="")
    still = Still(BatchState(key="k", name="n", runs=(run,), created=ZERO))

    def say(text: str) -> None:
        task = replace(run.tasks[2], status="running", finished=None, text=text, output="")
        still.held = replace(still.held, runs=(replace(run, tasks=(*run.tasks[:2], task)),))
        shown.pump(1)

    with board_page(browser, still) as shown:
        say(answer[:2])
        shown.page.locator('.cnb-row[data-run="0"]').click()
        shown.pump()
        live = shown.page.locator(".cnb-live")
        for end in range(3, len(answer) + 1):
            say(answer[:end])
            assert not set(live.inner_text()) & set("#*`-"), answer[:end]
            if end == 6:
                heading = live.locator("h6").element_handle()
        assert live.locator("h6").evaluate("(now, then) => now === then", heading)
        assert live.locator("strong").all_inner_texts() == ["signal", "Risk"]
        assert live.locator("li").count() == 2


def test_a_closed_row_cuts_what_is_said_at_its_end_alone(browser: Browser) -> None:
    """The newest sentence stands there from its first letter, without marks; what does not fit ends in an ellipsis."""
    spoken = finished_run(0, "Robotics", 0.0, words="")
    said = "It was **so**. The `signal` is **clear" + " and clear" * 60
    task = replace(spoken.tasks[2], status="running", finished=None, text=said, output="")
    run = replace(spoken, status="running", finished=None, output="", tasks=(*spoken.tasks[:2], task))
    with board_page(browser, Still(BatchState(key="k", name="n", runs=(run,), created=ZERO))) as shown:
        box = shown.page.locator(".cnb-item .cnb-say")
        assert box.inner_text().startswith("The signal is clear and clear")
        left, inner = (where.evaluate("e => e.getBoundingClientRect().left") for where in (box, box.locator("bdi")))
        assert inner == left
        assert box.evaluate("e => e.scrollWidth > e.clientWidth && getComputedStyle(e).textOverflow") == "ellipsis"
