"""People: their tokens, friends and preferences; the tables of `02_people.sql`."""
