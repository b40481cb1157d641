"""Tillstream beside what else one would use, in one run: `make bench`.

How it is kept fair. All contenders of a question run in the same minutes, on the same servers
(started for it, Postgres with fsync), one at a time, in rounds that take them in turn; a table
shows the median with the smallest and the greatest, and the ratio of the medians to its reference.
Each is a process of its own, on uvloop where it can be, with the same settings of the collector.
Each reads the same events, written once, and ends in the same two read models, which are compared
row by row with a recount: who is wrong is out. The clock runs from the moment when the consumer has
its partitions until the last commit has returned. What a contender leaves out that Tillstream does
stands beside its figures.

The events' times are past, so that nothing is live and nobody writes to Redis but where that is
what is measured.
"""
