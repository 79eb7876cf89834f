"""EmoBox's folds, which share speakers, and folds that do not."""
