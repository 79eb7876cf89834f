"""The contribution to SpeechBrain, and six fixes of it."""
