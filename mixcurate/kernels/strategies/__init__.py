"""Mixture strategies: from what each unit has to the share of tokens it gets.

A unit is a domain, or whatever shares are of (source, licence, language, tier, cluster). Each
strategy is one small module with one function of the same shape, ``shares(facts, params)``.
"""
