"""The recommender: pure functions of arrays, for one shard of users and one entity type.

Nothing here reads a file, a database, a clock or a setting; ids are positions (0-based, dense)
that the caller mapped once at the edge. `recommend.recommend` composes the other modules' stages.
"""
