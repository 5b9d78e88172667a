"""Generations, pointers, cards and exports: how a computed list becomes a served one."""
