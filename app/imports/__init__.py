"""Somebody's own table of sales, with whatever columns, as events of a shop.

Pure: cells, dialect, words, profile, currencies, suggest, mapping, reading, orders. At the edges:
tables (files), spill (what does not fit into memory), store (Postgres), carry_out (the log).
"""
