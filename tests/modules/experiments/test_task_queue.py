"""Jobs that take tasks from a shared folder."""

import pathlib
import threading

from modules.experiments.processes import Task
from modules.experiments.task_queue import QueuedTask, TaskQueue, take_tasks


def queue_of(folder, count, parts=0):
    """Return a queue of runs that need parts of an encoding, and its tasks."""
    runs = [Task([], pathlib.Path(folder, str(i))) for i in range(count)]
    encodings = [QueuedTask(runs[:1], (i, parts)) for i in range(parts)]
    needs = tuple(task.name for task in encodings)
    tasks = encodings + [QueuedTask([run], None, needs) for run in runs]
    queue = TaskQueue(pathlib.Path(folder))
    queue.write(tasks)
    return queue, tasks


def test_a_task_is_read_as_it_was_written(tmp_path):
    queue, tasks = queue_of(tmp_path, 2, parts=2)
    assert queue.read() == tasks
    assert len({task.name for task in tasks}) == 4


def test_every_task_is_taken_by_one_job_after_what_it_needs(tmp_path):
    queue, tasks = queue_of(tmp_path, 40, parts=4)
    done = []  # in the order of their ends

    def work(key):
        for task in take_tasks(queue, key):
            assert {*task.needs} <= queue.look()[1]
            done.append(task)
            queue.end(task.name, "")

    jobs = [threading.Thread(target=work, args=[f"job-{i}"]) for i in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(t.name for t in done) == sorted(t.name for t in tasks)


def test_a_job_that_starts_again_begins_with_what_it_had(tmp_path):
    queue, tasks = queue_of(tmp_path, 3)
    had, free = tasks[2], tasks[0]
    assert queue.take(had.name, "a") and queue.take(tasks[1].name, "b")
    again = take_tasks(queue, "a")
    assert next(again) == had
    queue.end(had.name, "")
    assert next(again) == free, "not what b has"
    queue.end(free.name, "")
    assert next(again, None) is None
    queue.give_back(tasks[1].name)
    assert next(take_tasks(queue, "c")) == tasks[1]


def test_a_waiting_job_takes_what_a_lost_job_has_given_back(tmp_path):
    queue, (part, run) = queue_of(tmp_path, 1, parts=1)
    queue.take(part.name, "lost")
    back = threading.Timer(0.5, queue.give_back, [part.name])
    back.start()
    waiting = take_tasks(queue, "a")
    assert next(waiting) == part
    queue.end(part.name, "")
    assert next(waiting) == run


def test_what_has_failed_may_be_taken_by_the_next_command(tmp_path):
    queue, (task,) = queue_of(tmp_path, 1)
    assert queue.take(task.name, "a")
    queue.end(task.name, "it fails")
    assert queue.problem(task.name) == "it fails"
    queue.write([task])
    assert queue.look() == ({}, set())
    queue.take(task.name, "b")
    queue.clear()
    assert list(tmp_path.iterdir()) == []
