"""Tillstream's own worker with every read model of the sales."""

from app.subscriptions import steps_of
from loadtests.contenders.job import told
from loadtests.contenders.tillstream import Worker
from streams.interpreter import tune

if __name__ == "__main__":
    job = told()
    tune()
    Worker(job, steps_of("sales")).execute_from_commandline()
