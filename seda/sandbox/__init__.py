"""What fills a database that is not production: the seeded sandbox and the Last.fm import.

Rows are made as arrays by pure functions and written by one loader.
"""
