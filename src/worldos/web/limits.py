"""Bounds of the page, each with its unit."""

from __future__ import annotations

PORT = 7381
LINK_LIFE_S = 120  # a login link is for now: it is opened at once, or a new one is made
VISIT_LIFE_S = 12 * 3600
SURE_LIFE_S = 15 * 60  # how long a proof of presence is good for what is hard to undo
VISITS_MAX = 16
USED_LINKS_MAX = 4096
CHALLENGE_LIFE_S = 300
CHALLENGES_MAX = 64
BODY_BYTES_MAX = 64 * 1024
FOLLOWERS_MAX = 8  # streams at once: each holds a conversation with the agent
LINES_WAITING_MAX = 256
ANSWER_TIMEOUT_S = 30.0
IDLE_LINE_S = 15.0  # a stream says something at least so often, so that who is gone is noticed
MESSAGE_BYTES_MAX = 1 << 20  # of one line of wos mcp
TOOL_OUTPUT_CHARS_MAX = 64_000
TOOL_RUN_S_MAX = 3600
JOB_ROWS_MAX = 200  # jobs in one answer to the page or a tool ...
TASK_ROWS_MAX = 100  # ... and tasks of one, ...
TASKS_READ_MAX = 5000  # ... chosen from so many: those that tell most
LOG_SHOWN_BYTES = 64 * 1024  # of what a task put out: the end of it
QUEUE_WAIT_S_MAX = 20
PAGE_BYTES_MAX = 64_000  # the whole page, as it is sent

assert LINK_LIFE_S < SURE_LIFE_S < VISIT_LIFE_S, "a link opens a visit, and a proof is a part of one"
assert CHALLENGE_LIFE_S < SURE_LIFE_S
assert QUEUE_WAIT_S_MAX < ANSWER_TIMEOUT_S
