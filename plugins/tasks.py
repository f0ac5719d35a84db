"""What takes longer than an answer: which long tasks run, and cancelling them.

Always offered, not only while something runs: a session learns of tools when it begins.
"""

from __future__ import annotations

from assistant.plugin import Plugin, tool


class Tasks(Plugin):
    @tool(
        sentences=[
            "what is running [now]",
            "what tasks are running",
            "what are you doing",
            "how far are you",
            "how far is the task",
        ]
    )
    async def running_tasks(self) -> dict[str, object]:
        """Tell which long tasks are running in the background, such as a download, and how far they are."""
        tasks = self.context.tasks.running
        lines = [f"{task.title[:1].upper()}{task.title[1:]}: {task.progress or 'running'}." for task in tasks]
        now = self.context.clock.monotonic()
        return {
            "say": " ".join(lines).replace("..", ".") or "Nothing is running.",
            "tasks": [
                {"task": task.title, "progress": task.progress, "for_s": round(now - task.began)} for task in tasks
            ],
        }

    @tool(sentences=["(cancel|stop) the [running] task", "(cancel|stop) the {task} task"])
    async def cancel_task(self, task: str | None = None) -> str:
        """Cancel a long task that is running in the background.

        task: words of its name as running_tasks tells it, such as "download"; leave out if only one runs
        """
        return f"I have cancelled {self.context.tasks.cancel(task).title}."
