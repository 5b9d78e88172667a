"""What can be recommended: artists, playlists and rooms, their genres and their texts."""
