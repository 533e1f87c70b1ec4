"""The line: jobs and their tasks, who runs which attempt, and what became of them (pure)."""
