"""Answers what people ask of the bots in comments: `/approve`, `/explain`, `/retrain`, `/mute`, `/help`."""
