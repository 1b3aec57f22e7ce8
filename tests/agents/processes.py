"""Several processes of one training run, as `torchrun` would start them, but forked: nothing is imported anew."""

import multiprocessing
import os
import socket

import torch

_FORK = multiprocessing.get_context("fork")


def together(work, *, count=2, timeout=120):
    """`work(rank)` in `count` processes; what each returned. Raises what the first of them raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [_FORK.Pipe(duplex=False) for _ in range(count)]
    workers = [_FORK.Process(target=_run, args=(work, rank, count, port, pipes[rank][1])) for rank in range(count)]
    for worker in workers:
        worker.start()
    try:
        answers = []
        for ours, _ in pipes:
            assert ours.poll(timeout), "a process did not answer"
            answers.append(ours.recv())
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    for _, error in answers:
        if error is not None:
            raise error
    return [value for value, _ in answers]


def _run(work, rank, count, port, pipe):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        pipe.send((work(rank), None))
    except BaseException as error:  # noqa: BLE001
        pipe.send((None, RuntimeError(f"process {rank}: {type(error).__name__}: {error}")))
