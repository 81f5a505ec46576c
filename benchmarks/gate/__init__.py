"""How often `pdebench regress` is wrong: a study of its error rates on the machine that it runs on. CPU only.

    python -m benchmarks.gate record --folder gate_study --minutes 90     again, to go on where it was
    python -m benchmarks.gate replay --folder gate_study --nights 200
    python -m benchmarks.gate live --folder gate_study --nights 5         again, to go on where it was

`record` times three small cells: this revision against itself (`same`), and against itself with one family's blocks
slowed by 2, 5 and 10% in a busy loop. A neighbour makes noise part of the time. `replay` runs the gate on virtual
nights of ten minutes that are drawn from the record, whole blocks at a time and in runs of neighbours, so that bursts
and drifts stay what they were; `live` runs it for real. Virtual nights share blocks, so their counts vary less than the
same number of real nights would: a longer record says more than more nights.
"""
