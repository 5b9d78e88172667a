"""What people make of what they are shown: impressions, answers, suppressions."""
