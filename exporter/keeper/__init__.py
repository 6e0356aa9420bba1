"""The process that `serve` starts as. It keeps the sockets open and answers while the exporter itself cannot.

It opens the listeners, forks a worker (the exporter itself), passes signals on to it, and reaps orphans as PID 1. While
no worker serves, because it loads, has crashed or hangs, the keeper answers: liveness 200, everything else 503. Then it
starts another worker.

It imports only modules that are part of the interpreter or tiny, and stays below 4 MiB of private memory. A worker is
forked without exec: it continues in the interpreter of the keeper, whose memory it shares.

Run       the loop, and what it decides
Worker    a worker process, as the keeper sees it
Link      the keeper, as the worker sees it
Shared    numbers that both can read and write, and that outlive a crash
"""
